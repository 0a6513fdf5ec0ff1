select
    origin,
    time_hour,
    temp,
    dewp,
    humid,
    cast(wind_dir as double) as wind_dir,
    -- No wind on Earth was ever faster than 253 mph; the source has one of 1,048 (EWR, 2013-02-12).
    case when wind_speed <= 253 then wind_speed end as wind_speed,
    wind_gust,
    precip,
    pressure,
    visib,
    event_timestamp,
    created_timestamp,
    partition_key
from {{ source('nycflights', 'weather') }}
