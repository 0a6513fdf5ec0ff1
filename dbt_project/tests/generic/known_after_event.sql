{# No version of a row is known before its event. #}
{% test known_after_event(model) %}
    select *
    from {{ model }}
    where event_timestamp > created_timestamp
{% endtest %}
