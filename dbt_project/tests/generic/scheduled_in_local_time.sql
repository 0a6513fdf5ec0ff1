{# The wall-clock time `local` in `zone` is the instant `instant`. A wall clock names two instants in the hour that
   daylight saving repeats (both are right) and none in the hour that it skips (DuckDB's reading is right). #}
{% test scheduled_in_local_time(model, local, instant, zone) %}
    select {{ local }}, {{ instant }}
    from {{ model }}
    where
        {{ instant }} is distinct from timezone('{{ zone }}', {{ local }})
        and timezone('{{ zone }}', {{ instant }}) is distinct from {{ local }}
{% endtest %}
