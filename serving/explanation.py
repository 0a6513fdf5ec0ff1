"""Which inputs moved an answer most: each is made missing in turn, and the answer's change is its effect.

Runs in the serving environment. An effect is of one input alone: two that tell the same hide each other's (see Covert
et al., "Explaining by Removing", JMLR 2021, on what removing features one at a time does and does not say).
"""

import json
from collections.abc import Callable, Mapping

import numpy as np

MOST_ROWS = 16  # that one request may have explained: each is scored once an input


def explain(
    feeds: Mapping[str, np.ndarray], value: np.ndarray, score: Callable[[dict[str, np.ndarray]], np.ndarray], top: int
) -> list[str]:
    """Return for each row the `top` inputs by effect as a JSON object, largest change first.

    `feeds` are the graph's inputs [N, 1], `value` [N] its answers, `score` answers other feeds. An effect is the answer
    minus what it would be with this input missing, in the answer's unit.
    """
    names, rows = list(feeds), len(value)
    spoilt = {name: np.tile(column, (len(names), 1)) for name, column in feeds.items()}
    for place, name in enumerate(names):
        column = spoilt[name]
        column[place * rows : (place + 1) * rows] = "" if column.dtype == object else np.nan
    effects = value - score(spoilt).reshape(len(names), rows)
    return [_as_json(names, effects[:, row], top) for row in range(rows)]


def _as_json(names: list[str], effects: np.ndarray, top: int) -> str:
    order = np.argsort(-np.abs(effects), kind="stable")[:top]
    return json.dumps({names[place]: round(float(effects[place]), 6) for place in order.tolist()})
