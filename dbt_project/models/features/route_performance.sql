-- Only rows known at their event: a window never changes after the fact. Sums of integers: order cannot show.
with outcomes as (
    select
        origin,
        dest,
        event_timestamp,
        count(*) as flights,
        count(arr_delay) as arrivals,
        coalesce(sum(arr_delay), 0) as delay,
        count(*) filter (where arr_delay >= 15) as late
    from {{ ref('stg_nycflights__flights') }}
    where {{ in_raw_months() }} and {{ within_reach('event_timestamp', '28 days') }} and is_original
    group by origin, dest, event_timestamp
),

windows as (
    select
        origin,
        dest,
        event_timestamp,
        cast(sum(flights) over last_28d as bigint) as flights_28d,
        cast(sum(arrivals) over last_28d as bigint) as arrivals_28d,
        cast(sum(delay) over last_28d as bigint) as delay_28d,
        cast(sum(late) over last_28d as bigint) as late_28d
    from outcomes
    window last_28d as (
        partition by origin, dest order by event_timestamp range between interval 28 days preceding and current row
    )
),

-- What a season does to all routes alike is not the route's own: only its distance from them keeps its meaning in autumn.
everyone as (
    select
        event_timestamp,
        cast(sum(sum(arrivals)) over last_28d as bigint) as all_arrivals_28d,
        cast(sum(sum(delay)) over last_28d as bigint) as all_delay_28d,
        cast(sum(sum(late)) over last_28d as bigint) as all_late_28d
    from outcomes
    group by event_timestamp
    window last_28d as (order by event_timestamp range between interval 28 days preceding and current row)
)

select
    origin,
    dest,
    flights_28d,
    delay_28d / nullif(arrivals_28d, 0) as mean_arr_delay_28d,
    late_28d / nullif(arrivals_28d, 0) as late_share_28d,
    delay_28d / nullif(arrivals_28d, 0) - all_delay_28d / nullif(all_arrivals_28d, 0) as excess_arr_delay_28d,
    late_28d / nullif(arrivals_28d, 0) - all_late_28d / nullif(all_arrivals_28d, 0) as excess_late_share_28d,
    (flights_28d - arrivals_28d) / flights_28d as lost_share_28d,
    event_timestamp,
    event_timestamp as created_timestamp,
    {{ month_of('event_timestamp') }} as partition_key
from windows
inner join everyone using (event_timestamp)
where {{ in_months(month_of('event_timestamp')) }}
