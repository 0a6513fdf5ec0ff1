with flights as (
    select * from {{ source('nycflights', 'flights') }}
),

scheduled as (
    select
        *,
        time_hour + to_minutes(minute) as scheduled_departure,
        make_timestamp(year, month, day, hour, minute, 0) as scheduled_departure_local
    from flights
)

select
    strftime(scheduled_departure_local, '%Y-%m-%d') || '/' || carrier || flight || '/' || origin as flight_id,
    carrier,
    flight as flight_number,
    tailnum,
    origin,
    dest,
    scheduled_departure,
    scheduled_departure_local,
    scheduled_departure + to_minutes(dep_delay) as departed_at,
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
