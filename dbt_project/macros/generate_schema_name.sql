{# A model's schema is the one it names, not "<target schema>_<name>": features.aircraft_state everywhere. #}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ custom_schema_name or target.schema }}
{%- endmacro %}
