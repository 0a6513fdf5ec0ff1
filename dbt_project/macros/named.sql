{# The relation of a model, or of a raw table as load_raw() has made it known. Not by ref(): a test with a second parent
   is run whenever either is built, also in a run that does not build the table it judges. #}
{% macro named(name) -%}
    {%- if execute -%}
        {%- for node in graph.nodes.values() if node.resource_type == 'model' and node.alias == name -%}
            {{ return(api.Relation.create(database=node.database, schema=node.schema, identifier=node.alias)) }}
        {%- endfor -%}
        {%- for node in graph.sources.values() if node.name == name -%}
            {{ return(source(node.source_name, node.name)) }}
        {%- endfor -%}
        {{ exceptions.raise_compiler_error("no model or raw table '" ~ name ~ "'") }}
    {%- endif -%}
{%- endmacro %}

{# The columns that a model's YAML declares. #}
{% macro columns_of(name) -%}
    {%- set found = [] -%}
    {%- if execute -%}
        {%- for node in graph.nodes.values() if node.resource_type == 'model' and node.alias == name -%}
            {%- do found.extend(node.columns.keys()) -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return(found) }}
{%- endmacro %}
