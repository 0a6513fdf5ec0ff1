-- Only rows known at their event: a window never changes after the fact. Sums of integers: order cannot show.
with outcomes as (
    select
        carrier,
        event_timestamp,
        count(*) as flights,
        count(arr_delay) as arrivals,
        coalesce(sum(arr_delay), 0) as delay,
        count(*) filter (where arr_delay >= 15) as late
    from {{ ref('stg_nycflights__flights') }}
    where {{ in_raw_months() }} and {{ within_reach('event_timestamp', '7 days') }} and is_original
    group by carrier, event_timestamp
),

windows as (
    select
        carrier,
        event_timestamp,
        cast(sum(flights) over last_7d as bigint) as flights_7d,
        cast(sum(arrivals) over last_7d as bigint) as arrivals_7d,
        cast(sum(delay) over last_7d as bigint) as delay_7d,
        cast(sum(late) over last_7d as bigint) as late_7d
    from outcomes
    window last_7d as (
        partition by carrier order by event_timestamp range between interval 7 days preceding and current row
    )
),

-- What a season does to all carriers alike is not the carrier's own: only its distance from them keeps its meaning in autumn.
everyone as (
    select
        event_timestamp,
        cast(sum(sum(arrivals)) over last_7d as bigint) as all_arrivals_7d,
        cast(sum(sum(delay)) over last_7d as bigint) as all_delay_7d,
        cast(sum(sum(late)) over last_7d as bigint) as all_late_7d
    from outcomes
    group by event_timestamp
    window last_7d as (order by event_timestamp range between interval 7 days preceding and current row)
)

select
    carrier,
    flights_7d,
    delay_7d / nullif(arrivals_7d, 0) as mean_arr_delay_7d,
    late_7d / nullif(arrivals_7d, 0) as late_share_7d,
    delay_7d / nullif(arrivals_7d, 0) - all_delay_7d / nullif(all_arrivals_7d, 0) as excess_arr_delay_7d,
    late_7d / nullif(arrivals_7d, 0) - all_late_7d / nullif(all_arrivals_7d, 0) as excess_late_share_7d,
    (flights_7d - arrivals_7d) / flights_7d as lost_share_7d,
    event_timestamp,
    event_timestamp as created_timestamp,
    {{ month_of('event_timestamp') }} as partition_key
from windows
inner join everyone using (event_timestamp)
where {{ in_months(month_of('event_timestamp')) }}
