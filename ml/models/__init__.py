"""The explicit list of models. Adding one: a file beside this with one ModelSpec, and a line here."""

from ml.models.flight_delay import FLIGHT_DELAY
from ml.spec import ModelSpec

MODELS: tuple[ModelSpec, ...] = (FLIGHT_DELAY,)


def model_named(name: str) -> ModelSpec:
    """Return the spec called `name`. Raises LookupError with the known names."""
    for spec in MODELS:
        if spec.name == name:
            return spec
    raise LookupError(f"no model {name!r}; ml/models lists {[spec.name for spec in MODELS]}")
