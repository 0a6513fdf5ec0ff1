"""The probability, two hours before scheduled departure, that a flight is cancelled."""

from ml.models.flight_delay import DATA_LIMITS, FLIGHT_DELAY
from ml.spec import Costs, ModelSpec, Outcome

CANCELLATION = ModelSpec(
    name="cancellation",
    description="Probability that a flight never leaves, asked two hours before departure. One in forty does not.",
    owner="team:flight-ops",
    outcome=Outcome(
        table="flight_outcomes", row_id="flight_id", label="cancelled", label_timestamp="cancelled_timestamp"
    ),
    # No aircraft: the source has no tail number for a third of the cancelled flights, which tells the answer.
    features=tuple(name for name in FLIGHT_DELAY.features if not name.startswith("aircraft")),
    request=FLIGHT_DELAY.request,
    elapsed=tuple(entry for entry in FLIGHT_DELAY.elapsed if not entry.since.startswith("aircraft")),
    split=FLIGHT_DELAY.split,
    slices=FLIGHT_DELAY.slices,
    limits=(*DATA_LIMITS, "Why a flight was cancelled is not in the data: weather, crew and aircraft are one label."),
    gates=FLIGHT_DELAY.gates.model_copy(update={"min_score": 0.65, "max_score": 0.95}),
    costs=Costs(action="call in a spare aircraft and crew", false_alarm=2_000, miss=20_000, unit="dollars"),
)
