"""Which row of a request goes to which version of the plan: by the row's keys, the same key always alike.

Runs in the serving environment. What a plan names is in `plan`; scoring is in `scorer`.
"""

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

from serving.feeds import RequestColumns
from serving.plan import ANSWERING, Arm, Plan

_ALL = 2**64


class Assignment:
    """Gives rows to the arms of one plan.

    A key is in an arm by a hash of its own and the arm's version, so that another canary gets other keys, and a larger
    share of the same canary keeps those that it had.
    """

    def __init__(self, plan: Plan) -> None:
        self._fields = plan.sticky_by or tuple(dict.fromkeys(key.name for v in plan.views for key in v.join_keys))
        lineup = list(enumerate(plan.lineup))
        answering = [(place, arm) for place, arm in lineup if arm.variant in ANSWERING and arm.share > 0]
        # In an order of their own, not the plan's: a share that changes must not move another's keys.
        self._answering = sorted(answering, key=lambda found: ANSWERING.index(found[1].variant))
        self._shadows = [(place, arm) for place, arm in lineup if arm.variant == "shadow" and arm.share > 0]

    def answering(self, request: RequestColumns) -> np.ndarray | None:
        """Return the place in the lineup of the version that answers each row, int [N]; None: the champion all."""
        if not self._answering:
            return None
        keys, places, left = self._keys(request), np.zeros(request.rows, dtype=np.intp), 1.0
        for place, arm in self._answering:
            share = min(arm.share / left, 1.0) if left > 0 else 0.0
            places[(places == 0) & _drawn(arm, share, keys)] = place
            left -= arm.share
        return places

    def shadows(self, request: RequestColumns) -> list[tuple[int, np.ndarray]]:
        """Return for each shadow its place in the lineup and which rows it scores, bool [N]."""
        keys = self._keys(request) if self._shadows else []
        return [(place, _drawn(arm, arm.share, keys)) for place, arm in self._shadows]

    def _keys(self, request: RequestColumns) -> list[bytes]:
        columns = [request.texts[f] if f in request.texts else request.numbers[f].tolist() for f in self._fields]
        return [repr(key).encode() for key in zip(*columns, strict=True)] if columns else [b""] * request.rows


def _drawn(arm: Arm, share: float, keys: Sequence[bytes]) -> np.ndarray:
    """Return which keys are in the arm's share."""
    if share >= 1:
        return np.ones(len(keys), dtype=bool)
    salt = arm.version.version.encode()[-16:]
    hashes = (blake2b(key, digest_size=8, person=salt).digest() for key in keys)
    return np.array([int.from_bytes(found, "little") < share * _ALL for found in hashes], dtype=bool)
