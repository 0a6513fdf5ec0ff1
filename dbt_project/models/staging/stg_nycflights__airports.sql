select
    faa,
    name as airport_name,
    lat,
    lon,
    alt,
    tzone,
    event_timestamp,
    created_timestamp
from {{ source('nycflights', 'airports') }}
