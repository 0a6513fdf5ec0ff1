{# The table of a model: its name for version 1, "<name>_v<version>" for later ones, so that declaring a second version
   leaves the first where it is. dbt's own rule would rename version 1 to "<name>_v1". The failing rows of a test are kept
   apart by its hash: both versions of a model have the tests that are declared for it. #}
{% macro generate_alias_name(custom_alias_name=none, node=none) -%}
    {%- if custom_alias_name -%}
        {{ custom_alias_name | trim }}
    {%- elif node.version and node.version | string != '1' -%}
        {{ node.name ~ "_v" ~ node.version }}
    {%- elif node.resource_type == 'test' -%}
        {{ node.name ~ "_" ~ node.unique_id.split(".")[-1] }}
    {%- else -%}
        {{ node.name }}
    {%- endif -%}
{%- endmacro %}
