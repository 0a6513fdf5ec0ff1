{# The table of a model: its name for version 1, "<name>_v<version>" for later ones, so that declaring a second version
   leaves the first where it is. dbt's own rule would rename version 1 to "<name>_v1". #}
{% macro generate_alias_name(custom_alias_name=none, node=none) -%}
    {%- if custom_alias_name -%}
        {{ custom_alias_name | trim }}
    {%- elif node.version and node.version | string != '1' -%}
        {{ node.name ~ "_v" ~ node.version }}
    {%- else -%}
        {{ node.name }}
    {%- endif -%}
{%- endmacro %}
