{# What a test looks at: the months of this run (and the look-back, in staging), so that a bad month blocks itself and
   no other. dbt calls this for the relation of every generic test. #}
{% macro get_where_subquery(relation) -%}
    {%- set columns, look_back = [], [0] -%}
    {%- if execute -%}
        {%- for node in graph.nodes.values() if node.resource_type == 'model' and node.alias == relation.identifier -%}
            {%- do columns.extend(node.columns.keys()) -%}
            {%- do look_back.append(look_back_of(node.unique_id)) -%}
        {%- endfor -%}
    {%- endif -%}
    {%- set months = in_months() if relation.schema == 'features' else in_raw_months(look_back[-1]) -%}
    {%- set wanted = [config.get('where') or 'true', months if relation.schema == 'features' or 'partition_key' in columns else 'true'] -%}
    (select * from {{ relation }} where {{ wanted | join(' and ') }}) dbt_subquery
{%- endmacro %}
