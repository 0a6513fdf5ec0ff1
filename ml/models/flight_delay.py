"""The probability, two hours before scheduled departure, that a flight arrives 30 or more minutes late."""

from datetime import UTC, datetime

from ml.spec import Costs, Elapsed, Gates, ModelSpec, Outcome, RequestField, Split, TrainingSettings, Window
from ml.upkeep import RetrainingSettings


def _window(start_month: int, end_year: int, end_month: int) -> Window:
    return Window(start=datetime(2013, start_month, 1, tzinfo=UTC), end=datetime(end_year, end_month, 1, tzinfo=UTC))


WEATHER = tuple(
    f"weather_observation:{name}"
    for name in (
        "temp",
        "dewp",
        "humid",
        "wind_dir",
        "wind_speed",
        "wind_gust",
        "precip",
        "pressure",
        "visib",
    )
)

DATA_LIMITS = (
    "One year, 2013, of departures from three airports around New York: no season twice, no other airport.",
    "Weather is observed at the origin: there is none of the destination, and no forecast.",
)

FLIGHT_DELAY = ModelSpec(
    name="flight_delay",
    description="Probability that a flight arrives 30 or more minutes late, asked two hours before departure.",
    owner="team:flight-ops",
    outcome=Outcome(
        table="flight_outcomes",
        row_id="flight_id",
        label="arrived_late",
        label_timestamp="label_timestamp",
        auxiliary=("arr_delay",),
    ),
    features=(
        "aircraft_state:last_arrived_at",
        "aircraft_state:last_dep_delay",
        "aircraft_state:last_arr_delay",
        "aircraft_state:last_air_time",
        "aircraft_state:last_distance",
        "aircraft_state:last_dest",
        "aircraft_state:legs_today",
        "aircraft_state:legs_today_since",
        "aircraft_state:last_turnaround",
        "aircraft_departure:departed_at",
        "aircraft_departure:dep_delay",
        "aircraft_departure:distance",
        "aircraft_departure:back_at",
        "aircraft:age_years",
        "aircraft:seats",
        "aircraft:engines",
        "origin_congestion:departures_3h",
        "origin_congestion:mean_dep_delay_3h",
        "origin_congestion:max_dep_delay_3h",
        "origin_congestion:late_share_3h",
        "origin_en_route:mean_delay_gained_3h",
        "flight_history:last_dep_delay",
        "flight_history:last_arr_delay",
        "flight_history:last_arrived_at",
        "destination_congestion:arrivals_3h",
        "destination_congestion:mean_arr_delay_3h",
        "destination_congestion:max_arr_delay_3h",
        "destination_congestion:late_share_3h",
        # Plain means over weeks carry the season's level, which is another one in every window (docs/decisions.md).
        "carrier_performance:excess_arr_delay_7d",
        "carrier_performance:excess_late_share_7d",
        "route_performance:excess_arr_delay_28d",
        "route_performance:excess_late_share_28d",
        *WEATHER,
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
        Elapsed(
            name="minutes_since_last_departure",
            since="aircraft_departure:departed_at",
            until="scheduled_departure",
        ),
        Elapsed(
            name="minutes_since_back",
            since="aircraft_departure:back_at",
            until="scheduled_departure",
            forecast=True,
        ),
        Elapsed(
            name="minutes_since_flight_before", since="flight_history:last_arrived_at", until="scheduled_departure"
        ),
        # Whether legs_today are still today's legs: nobody recomputes the count at midnight.
        Elapsed(
            name="minutes_since_legs_day_began",
            since="aircraft_state:legs_today_since",
            until="scheduled_departure",
        ),
    ),
    split=Split(train=_window(1, 2013, 9), validation=_window(9, 2013, 10), test=_window(10, 2014, 1)),
    training=TrainingSettings(epochs=4, learning_rate=1.5e-3),
    slices=("origin", "carrier", "scheduled_departure_local"),
    limits=(
        *DATA_LIMITS,
        "Cancelled and diverted flights have no arrival delay: nothing is learned from them.",
        "Of an aircraft only legs that left these airports are known: not the flight that brought it back.",
    ),
    costs=Costs(action="tell the passengers before they leave home", false_alarm=1, miss=4, unit="complaints"),
    retraining=RetrainingSettings(schedule="0 6 1 * *"),
    gates=Gates(
        min_score=0.70,
        max_score=0.90,
        # From January to June, no feature but weather moved from earlier months by more than 0.26, KS 0.16, PSI 0.45.
        max_feature_distance=0.3,
        max_feature_ks=0.2,
        max_feature_psi=0.5,
        max_drifted_share=0.1,
        # One year has no season twice: weather is never like the months before it.
        seasonal_features=WEATHER,
    ),
)
