with flights as (
    select * from {{ source('nycflights', 'flights') }}
),

scheduled as (
    select
        *,
        {{ minutes_later('time_hour', 'minute') }} as scheduled_departure,
        {{ wall_clock('year', 'month', 'day', 'hour', 'minute') }} as scheduled_departure_local
    from flights
)

select
    {{ day_text('scheduled_departure_local') }} || '/' || carrier || flight || '/' || origin as flight_id,
    carrier,
    flight as flight_number,
    tailnum,
    origin,
    dest,
    scheduled_departure,
    scheduled_departure_local,
    {{ minutes_later('scheduled_departure', 'dep_delay') }} as departed_at,
    case when arr_delay is not null then event_timestamp end as arrived_at,
    dep_delay,
    arr_delay,
    air_time,
    distance,
    event_timestamp,
    created_timestamp,
    created_timestamp = event_timestamp as is_original,
    partition_key
from scheduled
