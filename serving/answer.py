"""What is asked and what is answered: requests, and their answers from a batch that was scored.

Scoring is in `scored`, the way of a batch in `router`. Runs in the serving environment.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from serving.log_frames import ID_BYTES, NEVER
from serving.online_features import NOT_READ, STATUSES
from serving.scored import Scored


class Request(NamedTuple):
    """One request: tensors [N, 1] by input name. A probe is not logged; `version` answers it, or the champion.

    `explain` asks for so many inputs that moved each answer most. `traceparent` is the span of who asks, in W3C's form.
    `refused` says why it is not answered.
    """

    tensors: Mapping[str, np.ndarray]
    probe: bool = False
    version: str = ""
    explain: int = 0
    traceparent: str = ""
    refused: str = ""


class Answer(NamedTuple):
    """The answer to one request of N rows.

    `value` [N, 1] is the plan's output, float32; `versions` and `variants` say which version gave each, and as what.
    `degraded` [N] marks rows answered without some view that their version reads, because reading took longer than the
    deadline or the store was down. `status` says of each row, as a JSON object by view of the plan, whether its
    features were there, and why not.
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


def finish(scored: Scored, part: slice, explain: int = 0) -> Answer | Exception:
    """Return the answer to the request whose rows are `part` of the batch, with so many inputs that moved it most."""
    answer = _answer(scored, part)
    if not explain or isinstance(answer, Exception):
        return answer
    try:
        return answer._replace(explanation=_effects(scored, part, explain))
    except Exception as error:  # one request's explanation must not spoil its batch
        return error


def _answer(scored: Scored, part: slice) -> Answer | Exception:
    known, lineup, value = scored.known, scored.known.lineup, scored.value[part]
    first = scored.first
    if not first.sound(value):
        return first.unsound(value)
    text = known.ids[ID_BYTES * part.start : ID_BYTES * part.stop].hex()
    ids = [text[place : place + 2 * ID_BYTES] for place in range(0, len(text), 2 * ID_BYTES)]
    status = scored.status[:, part]
    told = [_as_json(lineup.views, codes) for codes in zip(*status.tolist(), strict=True)] if lineup.views else []
    events = scored.event_us[:, part].T
    ages = np.where(events == NEVER, np.nan, (known.reads.time_us - events) / 1e6).astype(np.float32)
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


def _effects(scored: Scored, part: slice, top: int) -> list[str]:
    """Return of each row of a request what moved its answer; nothing of rows whose features were not read."""
    told = ["{}"] * (part.stop - part.start)
    asked = np.zeros(len(scored.value), dtype=bool)
    asked[part] = True
    for by in scored.by:
        chosen = by.rows(asked)
        if by.failed or by.features is None or by.read is None or by.read.unread or not chosen.any():
            continue
        texts = by.scorer.explain(scored.known.request, by.features, chosen, top)
        for place, text in zip(np.flatnonzero(chosen[part]).tolist(), texts, strict=True):
            told[place] = text
    return told


@lru_cache(maxsize=4096)
def _as_json(names: tuple[str, ...], codes: tuple[int, ...]) -> str:
    return json.dumps({name: STATUSES[code] for name, code in zip(names, codes, strict=True)})
