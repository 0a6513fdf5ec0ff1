-- A day is New York's: all legs leave from there, and a flying day ends at night, not at 19:00 as the UTC day does.
with legs as (
    select *, date_trunc('day', {{ wall_clock_at('arrived_at', 'America/New_York') }}) as day
    from {{ ref('stg_nycflights__flights') }}
    where
        {{ in_raw_months() }} and {{ within_reach('event_timestamp', '3 days') }}
        and tailnum is not null and arrived_at is not null
),

-- Only legs known when they landed are counted: no later correction changes what was known that day.
histories as (
    select
        *,
        count(*) filter (where is_original) over (
            partition by tailnum, day order by event_timestamp
        ) as legs_today,
        max(arrived_at) filter (where is_original) over (
            partition by tailnum order by event_timestamp
            range between interval '3 days 0 seconds' preceding and interval '0 days 1 microsecond' preceding
        ) as previous_arrival
    from legs
)

select
    tailnum,
    {{ seconds_of('arrived_at') }} as last_arrived_at,
    cast(dep_delay as double) as last_dep_delay,
    cast(arr_delay as double) as last_arr_delay,
    cast(air_time as double) as last_air_time,
    cast(distance as double) as last_distance,
    dest as last_dest,
    legs_today,
    {{ seconds_of(instant_of('day', 'America/New_York')) }} as legs_today_since,
    -- A leg that the source lets leave before the one before it landed has no turnaround.
    case
        when previous_arrival <= departed_at
            then cast({{ minutes_from('previous_arrival', 'departed_at') }} as double)
    end as last_turnaround,
    event_timestamp,
    created_timestamp,
    {{ month_of('event_timestamp') }} as partition_key
from histories
where {{ in_months(month_of('event_timestamp')) }}
-- The source lets one tail number land twice in the same minute (once in 2013): the leg that left later counts.
qualify row_number() over (
    partition by tailnum, event_timestamp, created_timestamp order by departed_at desc, flight_id desc
) = 1
