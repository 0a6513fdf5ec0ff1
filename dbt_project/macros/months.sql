{# The months of a run: vars start_month and end_month, both or neither. #}
{% macro months_given() -%}
    {%- set start, end = var('start_month', none), var('end_month', none) -%}
    {%- if (start is none) != (end is none) -%}
        {{ exceptions.raise_compiler_error("give both start_month and end_month ('YYYY-MM'), or neither to build everything") }}
    {%- endif -%}
    {%- for month in [start, end] if month is not none and not modules.re.fullmatch('\\d{4}-(0[1-9]|1[0-2])', month | string) -%}
        {{ exceptions.raise_compiler_error("start_month and end_month have the form 'YYYY-MM'; got '" ~ month ~ "'") }}
    {%- endfor -%}
    {{ return(start is not none) }}
{%- endmacro %}

{# True for the rows whose `column` ('YYYY-MM') is a month of this run. #}
{% macro in_months(column='partition_key') -%}
    {%- if months_given() -%}
        {{ column }} between '{{ var('start_month') }}' and '{{ var('end_month') }}'
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}

{# True for the raw rows that the months of this run can depend on: those months and the `look_back` months before.
   A flight scheduled in one local month may land, and an observation be published, in the next UTC month.
   Left out, `look_back` is what the model's own YAML says (meta.look_back_months): Dagster and the guard read it there too. #}
{% macro in_raw_months(look_back=none, column='partition_key') -%}
    {%- if execute and months_given() -%}
        {%- set months = model.config.meta.look_back_months if look_back is none else look_back -%}
        {%- set start = modules.datetime.datetime.strptime(var('start_month'), '%Y-%m') -%}
        {%- set index = start.year * 12 + start.month - 1 - months -%}
        {{ column }} between '{{ "%04d-%02d" % (index // 12, index % 12 + 1) }}' and '{{ var('end_month') }}'
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}

{# True for the instants that a window of `reach` (such as '7 days') can see from the months of this run (UTC). It spares
   work and changes no row: the look-back is whole months, a window of three hours needs three hours of them. #}
{% macro within_reach(instant, reach) -%}
    {%- if months_given() -%}
        {{ instant }} >= {{ beginning_of(var('start_month')) }} - interval '{{ reach }}'
        and {{ instant }} < {{ beginning_of(var('end_month')) }} + interval 1 month
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}

{# The months that the feature tables built on a model or source look back at most, as their YAML says. #}
{% macro look_back_of(unique_id) -%}
    {%- set found = [0] -%}
    {%- for node in graph.nodes.values() if node.resource_type == 'model' and unique_id in node.depends_on.nodes -%}
        {%- do found.append(node.config.meta.look_back_months if 'features' in node.fqn else 0) -%}
        {%- do found.append(look_back_of(node.unique_id)) -%}
    {%- endfor -%}
    {{ return(found | max) }}
{%- endmacro %}
