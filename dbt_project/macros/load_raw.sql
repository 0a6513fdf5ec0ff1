{# Make every raw table that has landed known to this process: source() is what reads a plugin's table. #}
{% macro load_raw() -%}
    {%- if execute -%}
        {%- for node in graph.sources.values() if node.name not in var('not_landed') -%}
            {%- do source(node.source_name, node.name) -%}
        {%- endfor -%}
    {%- endif -%}
    select 1
{%- endmacro %}
