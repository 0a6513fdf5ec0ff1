select
    origin,
    temp,
    dewp,
    humid,
    wind_dir,
    wind_speed,
    wind_gust,
    precip,
    pressure,
    visib,
    event_timestamp,
    created_timestamp,
    {{ month_of('event_timestamp') }} as partition_key
from {{ ref('stg_nycflights__weather') }}
where {{ in_raw_months() }} and {{ in_months(month_of('event_timestamp')) }}
