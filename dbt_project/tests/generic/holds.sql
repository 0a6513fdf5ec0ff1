{# Every condition is true for every row; null counts as false. `conditions` gives each its name, and the column `rule` of
   a failing row says which it breaks. #}
{% test holds(model, conditions) %}
    select
        concat_ws(
            '; ',
            {%- for name, condition in conditions.items() %}
            case when not coalesce({{ condition }}, false) then '{{ name }}' end{{ ',' if not loop.last }}
            {%- endfor %}
        ) as rule,
        *
    from {{ model }}
    where not (
        {%- for condition in conditions.values() %}
        coalesce({{ condition }}, false){{ ' and' if not loop.last }}
        {%- endfor %}
    )
{% endtest %}
