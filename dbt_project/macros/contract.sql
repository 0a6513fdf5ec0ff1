{# The types that a model's YAML declares, as Spark names them: a contract is compared with what its SQL returns. #}
{% macro spark__get_empty_schema_sql(columns) -%}
    {%- set names = {'varchar': 'string', 'timestamp with time zone': 'timestamp', 'timestamp': 'timestamp_ntz'} -%}
    select
        {%- for column in columns.values() %}
        cast(null as {{ names.get(column.data_type, column.data_type) }}) as {{ column.name }}{{ ',' if not loop.last }}
        {%- endfor %}
    where false
{%- endmacro %}
