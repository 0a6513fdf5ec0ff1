-- The same flight of another day: what its slot, its crew and its gate make of it. Only rows known at their event.
select
    carrier,
    flight_number,
    origin,
    cast(dep_delay as double) as last_dep_delay,
    cast(arr_delay as double) as last_arr_delay,
    {{ seconds_of('arrived_at') }} as last_arrived_at,
    arrived_at as event_timestamp,
    arrived_at as created_timestamp,
    {{ month_of('arrived_at') }} as partition_key
from {{ ref('stg_nycflights__flights') }}
where
    {{ in_raw_months() }} and {{ in_months(month_of('arrived_at')) }}
    and is_original and arrived_at is not null
qualify row_number() over (
    partition by carrier, flight_number, origin, arrived_at order by departed_at desc, flight_id desc
) = 1
