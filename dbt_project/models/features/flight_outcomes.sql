-- What happened to each flight, as last corrected. By scheduled month, like raw: no outcome falls between months.
select
    flight_id,
    tailnum,
    origin,
    dest,
    carrier,
    flight_number,
    cast(distance as double) as distance,
    {{ seconds_of('scheduled_departure') }} as scheduled_departure,
    {{ seconds_of('scheduled_departure_local') }} as scheduled_departure_local,
    scheduled_departure - interval 2 hours as prediction_time,
    cast(arr_delay >= 30 as bigint) as arrived_late,
    cast(arr_delay as double) as arr_delay,
    case when arrived_at is not null then greatest(arrived_at, created_timestamp) end as label_timestamp,
    cast(departed_at is null as bigint) as cancelled,
    -- A flight that left is known not to be cancelled when it leaves, hours before its row is complete.
    case when is_original and departed_at is not null then departed_at else created_timestamp end as cancelled_timestamp,
    event_timestamp,
    created_timestamp,
    partition_key
from {{ ref('stg_nycflights__flights') }}
where {{ in_months() }}
qualify row_number() over (partition by flight_id order by created_timestamp desc) = 1
