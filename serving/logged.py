"""What the prediction log keeps of a batch: one frame a version. Runs in the serving environment.

A frame's form is in `log_frames`, writing it in `prediction_log`.
"""

import numpy as np

from serving.log_frames import Batch, encode
from serving.scored import By, Known


def frame_of(known: Known, by: By, chosen: np.ndarray, taken_us: int, answered: bool) -> bytes:
    """Return the frame of the rows `chosen`, bool [N], all of which the version scored."""
    request, schema, read = known.request, by.scorer.schemas[answered], by.read or known.reads.kept(by.scorer)
    features = by.features or by.scorer.features(read.arrays, request.rows)
    value = by.value
    if by.chosen is not None:
        value = np.full(request.rows, np.nan, dtype=np.float32)
        value[by.chosen] = by.value
    batch = Batch(
        known.reads.time_us,
        taken_us,
        known.ids,
        value,
        read.event_us,
        read.status,
        np.array([request.numbers[name] for name, _ in schema.numbers]).reshape(-1, request.rows),
        features.numbers,
        [*(request.texts[name] for name in schema.texts), *features.texts],
    )
    return encode(schema, batch if chosen.all() else batch.only(chosen))
