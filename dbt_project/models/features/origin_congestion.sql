-- Only rows known at their event: a window never changes after the fact. Sums of integers: order cannot show.
with departures as (
    select
        origin,
        departed_at,
        count(*) as departures,
        sum(dep_delay) as delay,
        max(dep_delay) as worst,
        count(*) filter (where dep_delay >= 15) as late
    from {{ ref('stg_nycflights__flights') }}
    where
        {{ in_raw_months() }} and {{ within_reach('departed_at', '3 hours') }}
        and is_original and departed_at is not null
    group by origin, departed_at
),

windows as (
    select
        origin,
        departed_at,
        cast(sum(departures) over last_3h as bigint) as departures_3h,
        cast(sum(delay) over last_3h as bigint) as delay_3h,
        max(worst) over last_3h as worst_3h,
        cast(sum(late) over last_3h as bigint) as late_3h
    from departures
    window last_3h as (
        partition by origin order by departed_at range between interval 3 hours preceding and current row
    )
)

select
    origin,
    departures_3h,
    delay_3h / departures_3h as mean_dep_delay_3h,
    cast(worst_3h as double) as max_dep_delay_3h,
    late_3h / departures_3h as late_share_3h,
    departed_at as event_timestamp,
    departed_at as created_timestamp,
    {{ month_of('departed_at') }} as partition_key
from windows
where {{ in_months(month_of('departed_at')) }}
