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
   A flight scheduled in one local month may land, and an observation be published, in the next UTC month. #}
{% macro in_raw_months(look_back=1, column='partition_key') -%}
    {%- if months_given() -%}
        {%- set start = modules.datetime.datetime.strptime(var('start_month'), '%Y-%m') -%}
        {%- set index = start.year * 12 + start.month - 1 - look_back -%}
        {{ column }} between '{{ "%04d-%02d" % (index // 12, index % 12 + 1) }}' and '{{ var('end_month') }}'
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}

{# The partition of an instant: its month in UTC. #}
{% macro month_of(instant) -%}
    strftime({{ instant }} at time zone 'UTC', '%Y-%m')
{%- endmacro %}
