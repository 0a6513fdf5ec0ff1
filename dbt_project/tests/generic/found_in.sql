{# What the table names is known elsewhere: of the values of `column` that are not null, a share of `at_least` is in
   `field` of the raw table `table`. #}
{% test found_in(model, references) %}
    {%- for it in references %}
    select
        '{{ it.column }} in {{ it.table }}' as rule,
        {{ it.at_least }} as at_least,
        sum(cast(found as int) * times) / sum(times) as share,
        sum(times) as rows_asked,
        any_value(asked) filter (where not found) as example
    from (
        select
            {{ it.column }} as asked,
            count(*) as times,
            {{ it.column }} in (select {{ it.field }} from {{ named(it.table) }}) as found
        from {{ model }}
        where {{ it.column }} is not null
        group by {{ it.column }}
    ) values_of_it
    having share < {{ it.at_least }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
{% endtest %}
