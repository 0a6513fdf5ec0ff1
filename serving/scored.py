"""Scores a batch: each row by the version that it goes to, from the views that this version reads.

A version beside the champion that fails on a row costs that row nothing: the champion answers it. Making answers of it
is in `answer`, the way of a batch in `router`. Runs in the serving environment.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from serving.feeds import RequestColumns
from serving.lineup import Lineup
from serving.log_frames import NEVER
from serving.online_features import NOT_NEEDED
from serving.reader import Read
from serving.reads import Reads
from serving.scorer import Features, Scorer


class Known(NamedTuple):
    """What a batch of N rows is answered from: 16 N bytes of `ids` among it."""

    lineup: Lineup
    request: RequestColumns
    reads: Reads
    ids: bytes


class By(NamedTuple):
    """The values that one version gave to the rows `chosen`, bool [N] (None: to all), from what was read for it.

    Where it `failed` on them, with which error.
    """

    scorer: Scorer
    value: np.ndarray
    features: Features | None = None
    read: Read | None = None
    chosen: np.ndarray | None = None
    failed: Exception | None = None

    def rows(self, logged: np.ndarray) -> np.ndarray:
        """Return which of the rows `logged`, bool [N], are its own."""
        return logged if self.chosen is None else logged & self.chosen


class Scored(NamedTuple):
    """The answers [N] of a batch, each row's place in the lineup (None: `first` all), and who gave them.

    `event_us` and `status` [views of the plan, N] are those of the version that answered, NOT_NEEDED where it does not
    read a view.
    """

    known: Known
    value: np.ndarray
    places: np.ndarray | None
    by: list[By]
    first: Scorer
    event_us: np.ndarray
    status: np.ndarray


def score_by(known: Known, scorer: Scorer) -> Scored:
    """Have one version answer the whole batch. Raises what keeps it from that."""
    by = by_version(known, scorer)
    return Scored(known, by.value, None, [by], scorer, *_told(known, [by]))


def score_all(known: Known, places: np.ndarray | None) -> Scored:
    """Score each row by the version at its place in the lineup, int [N]; those on which it fails, by the champion.

    Raises what keeps the champion from answering its own.
    """
    champion = known.lineup.champion
    if places is None:
        return score_by(known, champion)
    value, places = np.full(known.request.rows, np.nan, dtype=np.float32), places.copy()
    found: list[By] = []
    for place in np.unique(places[places > 0]).tolist():
        for by in _tried(known, known.lineup.scorers[place], places == place):
            found.append(by)
            value[by.chosen] = by.value
            if by.failed:
                places[by.chosen] = 0
    if (chosen := places == 0).any():
        found.append(by_version(known, champion, chosen))
        value[chosen] = found[-1].value
    return Scored(known, value, places, found, champion, *_told(known, found))


def by_version(known: Known, scorer: Scorer, chosen: np.ndarray | None = None) -> By:
    """Have one version score the batch, or the rows `chosen`. Raises what keeps it from that."""
    read = known.reads.of(scorer)
    features = scorer.features(read.arrays, known.request.rows)
    if read.unread:
        value = scorer.score_unread(known.request, features, known.reads.time_us / 1e6, chosen)
    else:
        value = scorer.score(known.request, features, chosen)
    return By(scorer, value, features, read, chosen)


def _tried(known: Known, scorer: Scorer, chosen: np.ndarray) -> Iterator[By]:
    """Yield what a version gave to its rows, and apart from that those on which it failed."""
    try:
        by = by_version(known, scorer, chosen)
    except Exception as error:
        yield By(scorer, np.full(int(chosen.sum()), np.nan), chosen=chosen, failed=error)
        return
    sound = scorer.sound_rows(by.value)
    for part, bad in ((sound, False), (~sound, True)):
        if part.any():
            mine = np.zeros_like(chosen)
            mine[np.flatnonzero(chosen)[part]] = True
            failed = scorer.unsound(by.value[part][:1]) if bad else None
            yield by._replace(value=by.value[part], chosen=mine, failed=failed)


def _told(known: Known, found: list[By]) -> tuple[np.ndarray, np.ndarray]:
    """Return event times and statuses of the plan's views, of each row those that its answer was made from."""
    views = known.lineup.views
    reads = [(by.read, by.chosen) for by in found if by.read is not None and not by.failed]
    first = reads[0][0]
    if first.need == views and all(read is first for read, _ in reads):
        return first.event_us, first.status
    event_us = np.full((len(views), known.request.rows), NEVER, dtype=np.int64)
    status = np.full(event_us.shape, NOT_NEEDED, dtype=np.uint8)
    for read, chosen in reads:
        mine = slice(None) if chosen is None else chosen
        for place, view in enumerate(read.need):
            event_us[views.index(view), mine] = read.event_us[place, mine]
            status[views.index(view), mine] = read.status[place, mine]
    return event_us, status
