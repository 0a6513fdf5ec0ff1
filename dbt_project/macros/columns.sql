{# Columns from the catalog instead of DESCRIBE: raw and staging views stand on frames that only dbt's own process has,
   so nobody else can bind them, but the catalog knows their columns. Column lineage is derived from these. #}
{% macro duckdb__get_columns_in_relation(relation) -%}
    {% call statement('get_columns_in_relation', fetch_result=True) %}
        select
            column_name,
            data_type,
            cast(null as bigint) as character_maximum_length,
            cast(null as bigint) as numeric_precision,
            cast(null as bigint) as numeric_scale
        from system.information_schema.columns
        where table_name = '{{ relation.identifier }}'
            {% if relation.schema %} and table_schema = '{{ relation.schema }}' {% endif %}
            {% if relation.database %} and table_catalog = '{{ relation.database }}' {% endif %}
        order by ordinal_position
    {% endcall %}
    {{ return(sql_convert_columns_in_relation(load_result('get_columns_in_relation').table)) }}
{% endmacro %}
