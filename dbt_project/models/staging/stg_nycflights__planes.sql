select
    tailnum,
    year as year_built,
    type as aircraft_type,
    manufacturer,
    model,
    engines,
    seats,
    speed,
    engine,
    event_timestamp,
    created_timestamp
from {{ source('nycflights', 'planes') }}
