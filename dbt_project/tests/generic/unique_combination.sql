{# No two rows agree in all of `columns`. #}
{% test unique_combination(model, columns) %}
    select 'twice' as rule, {{ columns | join(', ') }}, count(*) as rows_found
    from {{ model }}
    group by {{ columns | join(', ') }}
    having count(*) > 1
{% endtest %}
