"""An answer as a client has it, made from the tensors that Triton sends.

Asking is in `client`; what the router puts into the tensors, in `triton_model`.
"""

import json
import math
from typing import Any, NamedTuple

import numpy as np

from ml import remedies

_OUTPUTS = ("model_version", "prediction_id", "degraded", "feature_status", "variant")
_ANSWERS = ("probability", "value")  # a model has one of them
_EMPTY = "Triton gave {} answers for {} rows; the serving environment needs numpy < 2: {}"


class Prediction(NamedTuple):
    """One answer: its value, the model version that gave it (as champion, canary or challenger), its id in the log.

    `output` says what the value is: a probability, or a value in the unit of the model's label.

    `degraded` marks an answer given without some features, because reading them took too long or their store was
    down. `feature_status` says of each view whether its features were there, and why not (docs/serving.md);
    `feature_age_seconds` how long ago the event of each view's row was. `decision`: whether the value reaches the
    version's threshold; None if it has none. `explanation`, where it was asked for: the inputs that moved the answer
    most, each with how much lower the value would be if it was missing.
    """

    value: float
    model_version: str
    prediction_id: str
    degraded: bool
    feature_status: dict[str, str]
    output: str = "probability"
    variant: str = "champion"
    decision: bool | None = None
    feature_age_seconds: dict[str, float] = {}
    explanation: dict[str, float] = {}

    @property
    def probability(self) -> float:
        """The probability. Raises ValueError if the model answers with a value of another kind."""
        if self.output != "probability":
            raise ValueError(f"the model answers with a {self.output}, not with a probability; read `value`")
        return self.value


def predictions_of(result: Any, rows: int) -> list[Prediction]:
    """Return the answers to `rows` rows from Triton's result. Raises RuntimeError if it is not whole."""
    answer = next((name for name in _ANSWERS if result.get_output(name) is not None), _ANSWERS[0])
    outputs = [result.as_numpy(name) for name in (answer, *_OUTPUTS)]
    for output in outputs:
        if output is None or output.size != rows:
            raise RuntimeError(_EMPTY.format(0 if output is None else output.size, rows, remedies.install()))
    found = [
        Prediction(float(value), v.decode(), name.decode(), bool(degraded), json.loads(status), answer, part.decode())
        for value, v, name, degraded, status, part in zip(*(o.reshape(-1) for o in outputs), strict=True)
    ]
    decisions, ages = result.as_numpy("decision"), result.as_numpy("feature_age_seconds")
    if decisions is not None:
        found = [p._replace(decision=bool(d)) for p, d in zip(found, decisions.reshape(-1), strict=True)]
    if (told := result.as_numpy("explanation")) is not None:
        found = [p._replace(explanation=json.loads(t)) for p, t in zip(found, told.reshape(-1), strict=True)]
    if ages is not None:
        found = [p._replace(feature_age_seconds=_ages(p, row)) for p, row in zip(found, ages, strict=True)]
    return found


def _ages(prediction: Prediction, row: np.ndarray) -> dict[str, float]:
    """Return the ages that are known, by view; they come in the order of the statuses."""
    named = zip(prediction.feature_status, row.tolist(), strict=True)
    return {view: age for view, age in named if not math.isnan(age)}
