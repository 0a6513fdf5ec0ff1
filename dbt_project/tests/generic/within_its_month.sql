{# Every row lies in the partition of its event's month (UTC). #}
{% test within_its_month(model) %}
    select *
    from {{ model }}
    where partition_key is distinct from {{ month_of('event_timestamp') }}
{% endtest %}
