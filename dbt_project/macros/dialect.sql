{# What DuckDB and Spark say differently, one macro each; models, tests and macros use these and are plain SQL otherwise.
   Spark's session is in UTC (ml/dbt_spark.py), so that its timestamps show the instants that DuckDB shows in UTC. #}

{# An instant, or a wall clock, so many minutes later; null if there are none. #}
{% macro minutes_later(moment, minutes) -%} {{ return(adapter.dispatch('minutes_later')(moment, minutes)) }} {%- endmacro %}
{% macro duckdb__minutes_later(moment, minutes) -%} {{ moment }} + to_minutes({{ minutes }}) {%- endmacro %}
{% macro spark__minutes_later(moment, minutes) -%} {{ moment }} + make_dt_interval(0, 0, {{ minutes }}) {%- endmacro %}

{# Whole minutes from one instant to a later one. #}
{% macro minutes_from(earlier, later) -%} {{ return(adapter.dispatch('minutes_from')(earlier, later)) }} {%- endmacro %}
{% macro duckdb__minutes_from(earlier, later) -%} epoch_us({{ later }} - {{ earlier }}) // 60000000 {%- endmacro %}
{% macro spark__minutes_from(earlier, later) -%}
    (unix_micros({{ later }}) - unix_micros({{ earlier }})) div 60000000
{%- endmacro %}

{# A wall clock of its parts, columns of whole numbers. #}
{% macro wall_clock(year, month, day, hour, minute) -%}
    {{ return(adapter.dispatch('wall_clock')(year, month, day, hour, minute)) }}
{%- endmacro %}
{% macro duckdb__wall_clock(year, month, day, hour, minute) -%}
    make_timestamp({{ year }}, {{ month }}, {{ day }}, {{ hour }}, {{ minute }}, 0)
{%- endmacro %}
{% macro spark__wall_clock(year, month, day, hour, minute) -%}
    make_timestamp_ntz({{ year }}, {{ month }}, {{ day }}, {{ hour }}, {{ minute }}, 0)
{%- endmacro %}

{# What the wall clock in a time zone shows at an instant, and the instant at which it shows that. #}
{% macro wall_clock_at(instant, zone) -%} {{ return(adapter.dispatch('wall_clock_at')(instant, zone)) }} {%- endmacro %}
{% macro duckdb__wall_clock_at(instant, zone) -%} timezone('{{ zone }}', {{ instant }}) {%- endmacro %}
{% macro spark__wall_clock_at(instant, zone) -%}
    convert_timezone('UTC', '{{ zone }}', cast({{ instant }} as timestamp_ntz))
{%- endmacro %}

{% macro instant_of(clock, zone) -%} {{ return(adapter.dispatch('instant_of')(clock, zone)) }} {%- endmacro %}
{% macro duckdb__instant_of(clock, zone) -%} timezone('{{ zone }}', {{ clock }}) {%- endmacro %}
{% macro spark__instant_of(clock, zone) -%}
    cast(convert_timezone('{{ zone }}', 'UTC', cast({{ clock }} as timestamp_ntz)) as timestamp)
{%- endmacro %}

{# The first instant of a month 'YYYY-MM' in UTC. #}
{% macro beginning_of(month) -%} {{ return(adapter.dispatch('beginning_of')(month)) }} {%- endmacro %}
{% macro duckdb__beginning_of(month) -%} timestamptz '{{ month }}-01 00:00:00+00' {%- endmacro %}
{% macro spark__beginning_of(month) -%} timestamp '{{ month }}-01 00:00:00+00:00' {%- endmacro %}

{# Seconds since 1970 of an instant, or of a wall clock as if it were UTC's; and the wall clock of such seconds. #}
{% macro seconds_of(moment) -%} {{ return(adapter.dispatch('seconds_of')(moment)) }} {%- endmacro %}
{% macro duckdb__seconds_of(moment) -%} epoch_us({{ moment }}) // 1000000 {%- endmacro %}
{% macro spark__seconds_of(moment) -%} unix_micros(cast({{ moment }} as timestamp)) div 1000000 {%- endmacro %}

{% macro clock_of(seconds) -%} {{ return(adapter.dispatch('clock_of')(seconds)) }} {%- endmacro %}
{% macro duckdb__clock_of(seconds) -%} make_timestamp({{ seconds }} * 1000000) {%- endmacro %}
{% macro spark__clock_of(seconds) -%} cast(timestamp_seconds({{ seconds }}) as timestamp_ntz) {%- endmacro %}

{# The day 'YYYY-MM-DD' and the month 'YYYY-MM' of a wall clock, and the partition of an instant: its month in UTC. #}
{% macro day_text(clock) -%} {{ return(adapter.dispatch('day_text')(clock)) }} {%- endmacro %}
{% macro duckdb__day_text(clock) -%} strftime({{ clock }}, '%Y-%m-%d') {%- endmacro %}
{% macro spark__day_text(clock) -%} date_format({{ clock }}, 'yyyy-MM-dd') {%- endmacro %}

{% macro month_text(clock) -%} {{ return(adapter.dispatch('month_text')(clock)) }} {%- endmacro %}
{% macro duckdb__month_text(clock) -%} strftime({{ clock }}, '%Y-%m') {%- endmacro %}
{% macro spark__month_text(clock) -%} date_format({{ clock }}, 'yyyy-MM') {%- endmacro %}

{% macro month_of(instant) -%} {{ return(adapter.dispatch('month_of')(instant)) }} {%- endmacro %}
{% macro duckdb__month_of(instant) -%} strftime({{ instant }} at time zone 'UTC', '%Y-%m') {%- endmacro %}
{% macro spark__month_of(instant) -%} date_format({{ instant }}, 'yyyy-MM') {%- endmacro %}
