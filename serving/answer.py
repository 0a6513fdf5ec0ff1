"""What is asked and what is answered: a batch on its way from what is known of it to the answers of its requests.

Runs in the serving environment. The way itself is in `router`.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from serving.feeds import RequestColumns
from serving.lineup import Lineup
from serving.log_frames import ID_BYTES, NEVER
from serving.online_features import NOT_READ, STATUSES, ViewArrays
from serving.scorer import Features, Scorer


class Request(NamedTuple):
    """One request: tensors [N, 1] by input name. A probe is not logged; `version` answers it, or the champion.

    `explain` asks for so many inputs that moved each answer most. `traceparent` is the span of who asks, in W3C's form.
    """

    tensors: Mapping[str, np.ndarray]
    probe: bool = False
    version: str = ""
    explain: int = 0
    traceparent: str = ""


class Answer(NamedTuple):
    """The answer to one request of N rows.

    `value` [N, 1] is the plan's output, float32; `versions` and `variants` say which version gave each, and as what.
    `degraded` [N] marks rows answered without some view, because reading took longer than the deadline or the store
    was down. `status` says of each row, as a JSON object by view, whether its features were there, and why not.
    `ages` [N, views] are seconds since the event of each view's row, NaN where there is none. `decision` [N]: whether
    the value reaches its version's threshold, None if they have none. `output` and `revision` are the plan's.
    """

    value: np.ndarray
    versions: list[str]
    variants: list[str]
    prediction_ids: list[str]
    degraded: np.ndarray
    status: list[str]
    ages: np.ndarray
    decision: np.ndarray | None
    output: str
    revision: int
    explanation: list[str] | None = None


class Known(NamedTuple):
    """What a batch of N rows is answered from. `event_us` and `status` [views, N] are as in the log."""

    lineup: Lineup
    request: RequestColumns
    reads: Mapping[str, ViewArrays]
    ids: bytes
    event_us: np.ndarray
    status: np.ndarray
    time_us: int

    @property
    def unread(self) -> bool:
        """Whether no features were read at all."""
        return self.status.size > 0 and bool((self.status == NOT_READ).all())


class By(NamedTuple):
    """The values that one version gave to the rows `chosen`, bool [N] (None: to all)."""

    scorer: Scorer
    value: np.ndarray
    features: Features | None
    chosen: np.ndarray | None = None
    failed: bool = False


class Scored(NamedTuple):
    """The answers [N] of a batch, each row's place in the lineup (None: the champion all), and who gave them."""

    known: Known
    value: np.ndarray
    places: np.ndarray | None
    by: list[By]
    only: Scorer | None = None


def by_version(known: Known, scorer: Scorer, chosen: np.ndarray | None = None) -> By:
    """Have one version score the batch, or the rows `chosen`."""
    features = scorer.features(known.reads, known.request.rows)
    if known.unread:
        value = scorer.score_unread(known.request, features, known.time_us / 1e6, chosen)
    else:
        value = scorer.score(known.request, features, chosen)
    return By(scorer, value, features, chosen)


def finish(scored: Scored, part: slice) -> Answer | Exception:
    """Return the answer to the request whose rows are `part` of the batch."""
    known, lineup, value = scored.known, scored.known.lineup, scored.value[part]
    first = scored.only or lineup.champion
    if not first.sound(value):
        return first.unsound(value)
    text = known.ids[ID_BYTES * part.start : ID_BYTES * part.stop].hex()
    ids = [text[place : place + 2 * ID_BYTES] for place in range(0, len(text), 2 * ID_BYTES)]
    status = known.status[:, part]
    told = [_as_json(lineup.views, codes) for codes in zip(*status.tolist(), strict=True)] if lineup.views else []
    events = known.event_us[:, part].T
    ages = np.where(events == NEVER, np.nan, (known.time_us - events) / 1e6).astype(np.float32)
    scorers = [first] * len(ids)
    if scored.places is not None:
        scorers = [lineup.scorers[place] for place in scored.places[part].tolist()]
    decision = None
    if lineup.plan.decides:
        decision = value >= np.array([scorer.version.threshold for scorer in scorers], dtype=np.float32)
    return Answer(
        value.reshape(-1, 1).astype(np.float32),
        [scorer.version.version for scorer in scorers],
        [scorer.arm.variant for scorer in scorers],
        ids,
        (status == NOT_READ).any(axis=0),
        told or ["{}"] * len(ids),
        ages,
        decision,
        lineup.plan.output,
        lineup.plan.revision,
    )


@lru_cache(maxsize=4096)
def _as_json(names: tuple[str, ...], codes: tuple[int, ...]) -> str:
    return json.dumps({name: STATUSES[code] for name, code in zip(names, codes, strict=True)})
