-- Known hours before the leg is over: `aircraft_state` knows an aircraft only once it has landed.
select
    tailnum,
    {{ seconds_of('departed_at') }} as departed_at,
    cast(dep_delay as double) as dep_delay,
    cast(distance as double) as distance,
    -- There at eight miles a minute with half an hour to climb and taxi, 45 minutes on the ground, and the same way back.
    {{ seconds_of('departed_at') }} + 15 * distance + 6300 as back_at,
    departed_at as event_timestamp,
    departed_at as created_timestamp,
    {{ month_of('departed_at') }} as partition_key
from {{ ref('stg_nycflights__flights') }}
where
    {{ in_raw_months() }} and {{ in_months(month_of('departed_at')) }}
    and is_original and departed_at is not null and tailnum is not null
qualify row_number() over (partition by tailnum, departed_at order by flight_id desc) = 1
