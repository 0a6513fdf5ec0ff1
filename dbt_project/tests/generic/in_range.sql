{# Every value that is not null lies in [min, max]; a bound left out does not bind. #}
{% test in_range(model, column_name, min=none, max=none) %}
    select *
    from {{ model }}
    where
        {% if min is not none %}{{ column_name }} < {{ min }}{% else %}false{% endif %}
        or {% if max is not none %}{{ column_name }} > {{ max }}{% else %}false{% endif %}
{% endtest %}
