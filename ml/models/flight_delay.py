"""The probability, two hours before scheduled departure, that a flight arrives 30 or more minutes late."""

from datetime import UTC, datetime

from ml.spec import Elapsed, Gates, ModelSpec, Outcome, RequestField, Split, Window


def _window(start_month: int, end_year: int, end_month: int) -> Window:
    return Window(start=datetime(2013, start_month, 1, tzinfo=UTC), end=datetime(end_year, end_month, 1, tzinfo=UTC))


FLIGHT_DELAY = ModelSpec(
    name="flight_delay",
    description="Probability that a flight arrives 30 or more minutes late, asked two hours before departure.",
    owner="team:flight-ops",
    outcome=Outcome(
        table="flight_outcomes", row_id="flight_id", label="arrived_late", label_timestamp="label_timestamp"
    ),
    features=(
        "aircraft_state:last_arrived_at",
        "aircraft_state:last_dep_delay",
        "aircraft_state:last_arr_delay",
        "aircraft_state:last_air_time",
        "aircraft_state:last_distance",
        "aircraft_state:last_dest",
        "origin_congestion:departures_3h",
        "origin_congestion:mean_dep_delay_3h",
        "origin_congestion:max_dep_delay_3h",
        "origin_congestion:late_share_3h",
        "weather_observation:temp",
        "weather_observation:dewp",
        "weather_observation:humid",
        "weather_observation:wind_dir",
        "weather_observation:wind_speed",
        "weather_observation:wind_gust",
        "weather_observation:precip",
        "weather_observation:pressure",
        "weather_observation:visib",
    ),
    request=(
        RequestField(name="carrier", kind="categorical"),
        RequestField(name="origin", kind="categorical"),
        RequestField(name="dest", kind="categorical"),
        RequestField(name="distance", kind="numeric"),
        RequestField(name="scheduled_departure", kind="time"),
        RequestField(name="scheduled_departure_local", kind="local_time"),
    ),
    elapsed=(
        Elapsed(
            name="minutes_since_last_arrival",
            since="aircraft_state:last_arrived_at",
            until="scheduled_departure",
        ),
    ),
    split=Split(train=_window(1, 2013, 9), validation=_window(9, 2013, 10), test=_window(10, 2014, 1)),
    gates=Gates(min_auc=0.70, max_auc=0.90),
)
