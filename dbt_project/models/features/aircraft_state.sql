with legs as (
    select *
    from {{ ref('stg_nycflights__flights') }}
    where {{ in_raw_months() }} and tailnum is not null and arrived_at is not null
)

select
    tailnum,
    epoch_us(arrived_at) // 1000000 as last_arrived_at,
    cast(dep_delay as double) as last_dep_delay,
    cast(arr_delay as double) as last_arr_delay,
    cast(air_time as double) as last_air_time,
    cast(distance as double) as last_distance,
    dest as last_dest,
    event_timestamp,
    created_timestamp,
    {{ month_of('event_timestamp') }} as partition_key
from legs
where {{ in_months(month_of('event_timestamp')) }}
-- The source lets one tail number land twice in the same minute (once in 2013): the leg that left later counts.
qualify row_number() over (
    partition by tailnum, event_timestamp, created_timestamp order by departed_at desc, flight_id desc
) = 1
