{# Make raw tables known to this process: source() is what reads a plugin's table. Those of the run's `raw_versions`, all
   that are declared if it names none: a table that has not landed yet is no business of those that do not read it. #}
{% macro load_raw() -%}
    {%- if execute -%}
        {%- set wanted = var('raw_versions', {}) -%}
        {%- for node in graph.sources.values() if not wanted or node.name in wanted -%}
            {%- do source(node.source_name, node.name) -%}
        {%- endfor -%}
    {%- endif -%}
    select 1
{%- endmacro %}
