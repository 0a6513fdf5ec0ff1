{# The columns that every feature-stage table has, for rows that are never corrected: known at `instant`, in its month. #}
{% macro times_of(instant) -%}
    {{ instant }} as event_timestamp,
    {{ instant }} as created_timestamp,
    {{ month_of(instant) }} as partition_key
{%- endmacro %}

{# True for the rows of a raw table as they first came. What a correction says was not known before it came. #}
{% macro originals() -%}
    created_timestamp = event_timestamp
{%- endmacro %}

{# The YAML may leave these columns out: their types and meaning are the same everywhere (ml/dbt_manifest.py says them). The
   contract is enforced with them. #}
{% macro default__get_assert_columns_equivalent(sql) -%}
    {%- set types = {'event_timestamp': 'timestamp with time zone', 'created_timestamp': 'timestamp with time zone', 'partition_key': 'varchar'} -%}
    {%- for name, data_type in types.items() if 'features' in model.fqn and name not in model['columns'] -%}
        {%- do model['columns'].update({name: {'name': name, 'data_type': data_type, 'constraints': [], 'quote': none}}) -%}
    {%- endfor -%}
    {{ return(assert_columns_equivalent(sql)) }}
{%- endmacro %}
