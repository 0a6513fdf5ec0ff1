select
    carrier,
    name as carrier_name,
    event_timestamp,
    created_timestamp
from {{ source('nycflights', 'airlines') }}
