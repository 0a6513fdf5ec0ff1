-- Registrations carry no time of their own: an age is the one at the moment when the row became known.
select
    tailnum,
    cast(extract(year from event_timestamp) - year_built as bigint) as age_years,
    seats,
    engines,
    event_timestamp,
    created_timestamp,
    {{ month_of('event_timestamp') }} as partition_key
from {{ ref('stg_nycflights__planes') }}
where {{ in_months(month_of('event_timestamp')) }}
