"""The spec by which a training set was made: the model's, with the windows that a retraining moved.

What the gates, the training run and the deployment ask of `split` they ask of this one.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ml.spec import ModelSpec

AS_OF = "as_of"  # in a training set's commit: the instant at which a retraining made it; none: the spec's own windows


def trained_spec(spec: ModelSpec, metadata: Mapping[str, Any]) -> ModelSpec:
    """Return the spec for a training set whose commit holds `metadata` (`Lake.metadata`)."""
    moment = metadata.get(AS_OF)
    return spec if not moment else spec.as_of(datetime.fromisoformat(moment))
