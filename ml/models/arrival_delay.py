"""How many minutes late a flight arrives, asked two hours before scheduled departure."""

from ml.models.flight_delay import FLIGHT_DELAY
from ml.spec import ModelSpec, Outcome

ARRIVAL_DELAY = ModelSpec(
    name="arrival_delay",
    description="Minutes that a flight arrives later than scheduled, asked two hours before departure.",
    owner="team:flight-ops",
    task="regression",
    outcome=Outcome(table="flight_outcomes", row_id="flight_id", label="arr_delay", label_timestamp="label_timestamp"),
    features=FLIGHT_DELAY.features,
    request=FLIGHT_DELAY.request,
    elapsed=FLIGHT_DELAY.elapsed,
    split=FLIGHT_DELAY.split,
    slices=FLIGHT_DELAY.slices,
    limits=FLIGHT_DELAY.limits,
    # Storms come and go within two hours: most of a delay's variance cannot be known.
    gates=FLIGHT_DELAY.gates.model_copy(update={"min_score": 0.1, "max_score": 0.6}),
)
