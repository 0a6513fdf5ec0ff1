-- Only rows known at their event: a window never changes after the fact. Sums of integers: order cannot show.
with arrivals as (
    select
        dest,
        arrived_at,
        count(*) as arrivals,
        sum(arr_delay) as delay,
        max(arr_delay) as worst,
        count(*) filter (where arr_delay >= 15) as late
    from {{ ref('stg_nycflights__flights') }}
    where
        {{ in_raw_months() }} and {{ within_reach('arrived_at', '3 hours') }}
        and is_original and arrived_at is not null
    group by dest, arrived_at
),

windows as (
    select
        dest,
        arrived_at,
        cast(sum(arrivals) over last_3h as bigint) as arrivals_3h,
        cast(sum(delay) over last_3h as bigint) as delay_3h,
        max(worst) over last_3h as worst_3h,
        cast(sum(late) over last_3h as bigint) as late_3h
    from arrivals
    window last_3h as (
        partition by dest order by arrived_at range between interval 3 hours preceding and current row
    )
)

select
    dest,
    arrivals_3h,
    delay_3h / arrivals_3h as mean_arr_delay_3h,
    cast(worst_3h as double) as max_arr_delay_3h,
    late_3h / arrivals_3h as late_share_3h,
    arrived_at as event_timestamp,
    arrived_at as created_timestamp,
    {{ month_of('arrived_at') }} as partition_key
from windows
where {{ in_months(month_of('arrived_at')) }}
