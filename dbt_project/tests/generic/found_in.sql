{# What the table names is known elsewhere: of the values of `column` that are not null, a share of `at_least` is in
   `field` of the raw table `table`. #}
{% test found_in(model, references) %}
    {%- for it in references %}
    select
        '{{ it.column }} in {{ it.table }}' as rule,
        {{ it.at_least }} as at_least,
        avg(cast({{ it.column }} in (select {{ it.field }} from {{ named(it.table) }}) as int)) as share,
        count(*) as rows_asked,
        any_value({{ it.column }}) filter ({{ it.column }} not in (select {{ it.field }} from {{ named(it.table) }})) as example
    from {{ model }}
    where {{ it.column }} is not null
    having share < {{ it.at_least }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
{% endtest %}
