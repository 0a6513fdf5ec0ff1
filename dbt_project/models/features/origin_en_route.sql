-- Only rows known at their event: a window never changes after the fact. Sums of integers: order cannot show.
with arrivals as (
    select
        origin,
        arrived_at,
        count(*) as arrivals,
        sum(arr_delay - dep_delay) as gained
    from {{ ref('stg_nycflights__flights') }}
    where
        {{ in_raw_months() }} and {{ within_reach('arrived_at', '3 hours') }}
        and is_original and arrived_at is not null
    group by origin, arrived_at
),

windows as (
    select
        origin,
        arrived_at,
        cast(sum(arrivals) over last_3h as bigint) as arrivals_3h,
        cast(sum(gained) over last_3h as bigint) as gained_3h
    from arrivals
    window last_3h as (
        partition by origin order by arrived_at range between interval 3 hours preceding and current row
    )
)

select
    origin,
    arrivals_3h,
    gained_3h / arrivals_3h as mean_delay_gained_3h,
    arrived_at as event_timestamp,
    arrived_at as created_timestamp,
    {{ month_of('arrived_at') }} as partition_key
from windows
where {{ in_months(month_of('arrived_at')) }}
