{# One row for each `key` that the table is built from, in the months of this run: none missing, none besides, none twice.
   `key` maps the table's columns to expressions on the model `of`; of its rows those count for which `among` holds, and
   `month` is the expression of a row's month. #}
{% test one_row_each(model, key, of, among='true', month=none) %}
    {%- set columns = key.keys() | join(', ') -%}
    {%- set by_month = 'partition_key' in columns_of(of) -%}
    with built as (
        select {{ columns }} from {{ model }}
    ),

    wanted as (
        select distinct
            {%- for column, expression in key.items() %}
            {{ expression }} as {{ column }}{{ ',' if not loop.last }}
            {%- endfor %}
        from {{ named(of) }}
        where
            ({{ among }})
            and {{ in_months(month or month_of('event_timestamp')) }}
            and {{ in_raw_months(1) if by_month else 'true' }}
    )

    select 'twice' as rule, {{ columns }} from built group by {{ columns }} having count(*) > 1
    union all
    select 'missing' as rule, {{ columns }} from (select * from wanted except select * from built)
    union all
    select 'not in {{ of }}' as rule, {{ columns }} from (select * from built except select * from wanted)
{% endtest %}
