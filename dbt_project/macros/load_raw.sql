{# Make every declared raw table known to this process: source() is what reads a plugin's table. #}
{% macro load_raw() -%}
    {%- if execute -%}
        {%- for node in graph.sources.values() -%}
            {%- do source(node.source_name, node.name) -%}
        {%- endfor -%}
    {%- endif -%}
    select 1
{%- endmacro %}
