"""Small worlds for the drift tests: a window of made-up rows, and windows of any frame."""

import numpy as np
import polars as pl

from checks.drift import check_drift
from checks.drift_bounds import Bounds
from checks.drift_evidence import Reference
from checks.drift_windows import Part, Profiles, Window
from ml.fingerprint import content_hash

BOUNDS = Bounds(distance=0.3, share=0.0)


def rows(shift=0.0, carriers="AB", count=4000, seed=1):
    random = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "delay": random.normal(shift, 1, count),
            "distance": random.exponential(10, count),
            "carrier": random.choice(list(carriers), count),
            "empty": pl.Series([None] * count, dtype=pl.Float64),
        }
    )


def part(frame, label="rows"):
    return Part("made/up", label, content_hash(frame), frame.lazy)


def window(*frames, name="rows", in_order=False):
    return Window(name, tuple(part(f, f"{name} {n}") for n, f in enumerate(frames)), in_order)


def judge(folder, old, new, bounds=BOUNDS, **more):
    """The outcome of `new` against `old` (frames or windows), with profiles and page in `folder`."""
    named = {"before": old, "now": new}
    old, new = (side if isinstance(side, Window) else window(side, name=name) for name, side in named.items())
    columns = new.parts[0].read().collect_schema().names() if new.parts else ["delay"]
    reference = Reference("trailing", old, columns, bounds)
    return check_drift(new, [reference], Profiles(folder / "profiles"), folder / "page.html", **more)
