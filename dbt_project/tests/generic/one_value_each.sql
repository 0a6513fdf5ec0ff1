{# The values of `column` that go with one value of `by` differ by no more than `tolerance`, a share. #}
{% test one_value_each(model, column, by, tolerance=0) %}
    select
        '{{ column }} differs' as rule,
        {{ by | join(', ') }},
        min({{ column }}) as least,
        max({{ column }}) as greatest,
        count(*) as rows_found
    from {{ model }}
    group by {{ by | join(', ') }}
    having greatest > least * (1 + {{ tolerance }})
{% endtest %}
