"""The router: answers batched requests of one model by its plan. Runs inside Triton, and testable outside.

Online features are read, each row's version scores it, the decision is logged. Another plan takes over between two
batches (`swap`). What Triton's Python backend wants of us is in `triton_model`; who watches for another plan, in
`plan_watch`.
"""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np

from ml.clock import Clock, ReplayClock, open_clock
from ml.online_rows import OnlineStoreError
from ml.packed import Key
from serving.answer import Answer, By, Known, Request, Scored, by_version, finish
from serving.breaker import Breaker
from serving.explanation import MOST_ROWS
from serving.feeds import RequestColumns, RequestError, joined, key_columns, request_columns
from serving.lineup import Lineup
from serving.log_frames import ID_BYTES, Batch, LogSchema, encode
from serving.online_features import NOT_READ, ViewArrays
from serving.plan import ANSWERING, EXPLAIN, Plan
from serving.prediction_log import PredictionLog
from serving.scorer import Call, Scorer
from serving.seen import Levels, Seen, Watcher
from serving.sessions import Sessions
from serving.shadow import Shadows

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Router:
    """One model's plan at work: the lineup of its versions, clock and log."""

    def __init__(self, plan: Plan, call: Call | None = None) -> None:
        """Open everything; `call` scores by a Triton model of its own, for versions that are one.

        Raises LookupError or ValueError if a file is missing or does not fit the plan.
        """
        self._sessions, self._call = Sessions(plan.sessions_mb * 2**20), call
        self._lineup = Lineup(plan, self._sessions, None, call)
        self._retired: list[Lineup] = []
        self._store_trouble = self._version_trouble = ""
        self._breaker = Breaker()
        self._clock: Clock = open_clock(Path(plan.clock_file))
        self.log = PredictionLog(Path(plan.prediction_log), f"{plan.revision:06d}", _schemas(self._lineup))
        self._shadows = Shadows()
        self.watchers: list[Watcher] = []
        self._seen = Seen(())

    @property
    def plan(self) -> Plan:
        """The plan that answers."""
        return self._lineup.plan

    def self_test(self) -> None:
        """Answer one row in which everything is missing. Raises whatever keeps the model from answering.

        A champion that is a Triton model of its own cannot be asked before requests are answered.
        """
        if self._lineup.champion.called:
            return
        (answer,) = self.answer([Request(self._missing(), probe=True)])
        if isinstance(answer, Exception):
            raise answer

    def swap(self, plan: Plan) -> None:
        """Answer by another plan from the next batch on; the batch under way ends by its own.

        Every version that gets a share is tried first. Raises what keeps one of them from answering; then nothing
        changes. In a thread beside the one that answers.
        """
        before = self._lineup
        try:
            lineup = Lineup(plan, self._sessions, before, self._call)
            self._try(lineup)
        except BaseException:
            self._sessions.keep(before.files())
            self._sessions.forget(before.files())
            raise
        self.log.declare(_schemas(lineup))
        self._sessions.budget = plan.sessions_mb * 2**20
        self._lineup = lineup
        self._retired.append(before)
        self._sessions.forget([*lineup.files(), *before.files()])

    def answer(self, requests: Sequence[Request]) -> list[Answer | Exception]:
        """Return an answer or the error for each request; one bad request does not spoil its batch. One thread only."""
        seen = self._seen = Seen(requests)
        seen.answers = self._answer(requests, seen)
        for watcher in self.watchers:
            watcher.answered(seen)
        return list(seen.answers)

    def levels(self) -> Levels:
        """Return what is true at the moment, for those who watch."""
        arms = frozenset((arm.version.version, arm.variant) for arm in self.plan.lineup)
        log, shadows, sessions = self.log, self._shadows, self._sessions
        return Levels(
            self.plan.revision,
            arms,
            log.waiting,
            log.capacity,
            log.dropped,
            shadows.left_out,
            len(sessions),
            sessions.size,
        )

    def _answer(self, requests: Sequence[Request], seen: Seen) -> list[Answer | Exception]:
        lineup = self._current()
        parsed = [self._parsed(lineup, request) for request in requests]
        asked = [columns for columns in parsed if isinstance(columns, RequestColumns)]
        seen.lap("parse")
        if not asked:
            return [columns for columns in parsed if isinstance(columns, (Answer, Exception))]
        try:
            scored = self._score(lineup, joined(asked))
        except Exception as error:
            return [error if isinstance(columns, RequestColumns) else columns for columns in parsed]
        seen.lap("score")
        answers: list[Answer | Exception] = []
        logged = np.zeros(len(scored.value), dtype=bool)
        start = 0
        for request, columns in zip(requests, parsed, strict=True):
            if not isinstance(columns, RequestColumns):
                answers.append(columns)
                continue
            part = slice(start, start := start + columns.rows)
            answers.append(self._explained(scored, part, request, finish(scored, part)))
            logged[part] = not isinstance(answers[-1], Exception)
        seen.lap("answer")
        seen.scored, seen.logged = scored, logged
        self._log(scored, logged, seen.started)
        seen.lap("log")
        return answers

    def close(self) -> None:
        """Write out the log and close the online store."""
        self._shadows.close()
        self.log.close()
        self._lineup.features.close()

    def _current(self) -> Lineup:
        """Return the lineup that answers this batch, and close what lineups before it had for themselves."""
        lineup = self._lineup
        while self._retired and lineup is self._lineup:
            self._close_unshared(self._retired.pop(), lineup)
        return lineup

    def _close_unshared(self, lineup: Lineup, other: Lineup) -> None:
        if lineup.features is not other.features:
            lineup.features.close()

    def _try(self, lineup: Lineup) -> None:
        """Score one row in which everything is missing with every version that may answer one."""
        request = request_columns(lineup.plan, self._missing(lineup.plan))
        reads = lineup.features.unread_arrays(request.rows)
        for scorer in lineup.scorers:
            if scorer.arm.variant not in ("previous", "candidate") and not scorer.called:
                value = scorer.score(request, scorer.features(reads, request.rows))
                if not scorer.sound(value):
                    raise scorer.unsound(value)

    def _missing(self, plan: Plan | None = None) -> dict[str, np.ndarray]:
        return {
            field.name: np.array([[b""]], dtype=object) if field.dtype == "BYTES" else np.array([[np.nan]])
            for field in (plan or self.plan).request
        }

    def _parsed(self, lineup: Lineup, request: Request) -> RequestColumns | Answer | Exception:
        """Return a request's columns, or what is its own: the error, or the answer to a probe."""
        try:
            columns = request_columns(lineup.plan, request.tensors)
        except RequestError as error:
            return error
        if request.explain and columns.rows > MOST_ROWS:
            return RequestError(f"{EXPLAIN} takes at most {MOST_ROWS} rows a request, not {columns.rows}")
        return self._probed(lineup, request, columns) if request.probe else columns

    def _probed(self, lineup: Lineup, request: Request, columns: RequestColumns) -> Answer | Exception:
        """Answer a probe by the version that it names, or by the champion; nothing is logged."""
        scorer = lineup.of_version(request.version) if request.version else lineup.champion
        if scorer is None:
            named = ", ".join(s.version.version for s in lineup.scorers[:20])
            return RequestError(f"the plan of {lineup.plan.model!r} names no version {request.version!r}, but {named}")
        try:
            scored, all_rows = self._score(lineup, columns, scorer), slice(0, columns.rows)
            return self._explained(scored, all_rows, request, finish(scored, all_rows))
        except Exception as error:
            return error

    def _explained(
        self, scored: Scored, part: slice, request: Request, answer: Answer | Exception
    ) -> Answer | Exception:
        """Add to an answer what moved it, where that is asked for."""
        if not request.explain or isinstance(answer, Exception):
            return answer
        try:
            return answer._replace(explanation=self._effects(scored, part, request.explain))
        except Exception as error:  # one request's explanation must not spoil its batch
            return error

    def _effects(self, scored: Scored, part: slice, top: int) -> list[str]:
        """Return of each row of a request what moved its answer; nothing of rows whose features were not read."""
        told = ["{}"] * (part.stop - part.start)
        if scored.known.unread:
            return told
        for by in scored.by:
            chosen = np.zeros(len(scored.value), dtype=bool)
            chosen[part] = True
            chosen &= True if by.chosen is None else by.chosen
            if by.failed or by.features is None or not chosen.any():
                continue
            texts = by.scorer.explain(scored.known.request, by.features, chosen, top)
            for place, text in zip(np.flatnonzero(chosen[part]).tolist(), texts, strict=True):
                told[place] = text
        return told

    def _score(self, lineup: Lineup, request: RequestColumns, only: Scorer | None = None) -> "Scored":
        now = self._now()
        reads = self._read(lineup, key_columns(lineup.plan, request), now, request.rows)
        self._seen.lap("read")
        ids = os.urandom(ID_BYTES * request.rows)
        status = _stacked([reads[view].status for view in lineup.views], request.rows, np.uint8)
        event_us = _stacked([reads[view].event_us for view in lineup.views], request.rows, np.int64)
        time_us = (now - _EPOCH) // timedelta(microseconds=1)
        known = Known(lineup, request, reads, ids, event_us, status, time_us)
        if only is not None:
            by = by_version(known, only)
            return Scored(known, by.value, None, [by], only)
        return self._by_all(known, lineup.assignment.answering(request))

    def _by_all(self, known: "Known", places: np.ndarray | None) -> "Scored":
        """Score each row by its version; those of one beside the champion that fails, by the champion."""
        lineup = known.lineup
        if places is None:
            by = by_version(known, lineup.champion)
            return Scored(known, by.value, None, [by])
        value = np.full(known.request.rows, np.nan, dtype=np.float32)
        found: list[By] = []
        for place in np.unique(places[places > 0]).tolist():
            chosen, scorer, bad = places == place, lineup.scorers[place], None
            try:
                by = by_version(known, scorer, chosen)
                sound = scorer.sound_rows(by.value)
                bad = None if sound.all() else scorer.unsound(by.value[~sound][:1])
            except Exception as error:
                by, bad = By(scorer, np.full(int(chosen.sum()), np.nan), None, chosen), error
                sound = np.zeros(len(by.value), dtype=bool)
            self._tell_version(scorer, bad)
            value[chosen] = by.value
            for part, failed in ((sound, False), (~sound, True)):
                if part.any():
                    mine = np.zeros_like(chosen)
                    mine[np.flatnonzero(chosen)[part]] = True
                    found.append(by._replace(value=by.value[part], chosen=mine, failed=failed))
                    places = np.where(mine & failed, 0, places)
        if (chosen := places == 0).any():
            found.append(by_version(known, lineup.champion, chosen))
            value[chosen] = found[-1].value
        return Scored(known, value, places, found)

    def _tell_version(self, scorer: Scorer, bad: Exception | None) -> None:
        """Say once that a version fails, and that the champion answers in its place."""
        told = "" if bad is None else f"{scorer.arm.variant} {scorer.version.version}: {bad}; the champion answers"
        if told and told != self._version_trouble:
            print(f"model {self.plan.model!r}: {told}", file=sys.stderr, flush=True)
        self._version_trouble = told or self._version_trouble

    def _read(
        self, lineup: Lineup, keys: Mapping[str, Sequence[Key]], now: datetime, size: int
    ) -> Mapping[str, ViewArrays]:
        """Read the features, or go without them while the store is down; say once that it is, and that it is back."""
        if not keys:
            return {}
        if self._breaker.open:
            return lineup.features.unread_arrays(size)
        trouble = ""
        try:
            reads = lineup.features.arrays(keys, now, time.perf_counter() + lineup.plan.deadline_ms / 1000)
            if reads[lineup.views[0]].status[0] == NOT_READ:
                trouble = f"it did not answer within {lineup.plan.deadline_ms} ms"
        except OnlineStoreError as error:
            reads, trouble = lineup.features.unread_arrays(size), str(error)
        self._breaker.record(not trouble)
        if bool(trouble) != bool(self._store_trouble):
            text = f"answers go without features: {trouble}" if trouble else "the online store is read again"
            print(f"model {lineup.plan.model!r}: {text}", file=sys.stderr, flush=True)
        self._store_trouble = trouble
        return reads

    def _log(self, scored: "Scored", logged: np.ndarray, started: float) -> None:
        """Keep what was answered, and what it was answered from; have the shadows do their part later."""
        if not logged.any():
            return
        taken_us = round((time.perf_counter() - started) * 1e6)
        for by in scored.by:
            self._keep(scored.known, by, logged, taken_us, not by.failed)
        for place, drawn in scored.known.lineup.assignment.shadows(scored.known.request):
            if (chosen := drawn & logged).any():
                self._shadows.put(partial(self._shadow, scored.known, place, chosen))

    def _shadow(self, known: "Known", place: int, chosen: np.ndarray) -> None:
        started, scorer, rows = time.perf_counter(), known.lineup.scorers[place], int(chosen.sum())
        by = By(scorer, np.full(rows, np.nan), None, chosen, failed=True)
        try:
            by = by_version(known, scorer, chosen)
            self._keep(known, by, chosen, round((time.perf_counter() - started) * 1e6), answered=False)
        finally:
            for watcher in self.watchers:
                watcher.shadowed(by, rows, time.perf_counter() - started)

    def _keep(self, known: "Known", by: "By", logged: np.ndarray, taken_us: int, answered: bool) -> None:
        """Log the rows that a version scored, those of them that are `logged`."""
        chosen = logged if by.chosen is None else logged & by.chosen
        if not chosen.any():
            return
        request, schema = known.request, by.scorer.schemas[answered]
        features = by.scorer.features(known.reads, request.rows) if by.features is None else by.features
        value = by.value
        if by.chosen is not None:
            value = np.full(request.rows, np.nan, dtype=np.float32)
            value[by.chosen] = by.value
        batch = Batch(
            known.time_us,
            taken_us,
            known.ids,
            value,
            known.event_us,
            known.status,
            np.array([request.numbers[name] for name, _ in schema.numbers]).reshape(-1, request.rows),
            features.numbers,
            [*(request.texts[name] for name in schema.texts), *features.texts],
        )
        self.log.append(encode(schema, batch if chosen.all() else batch.only(chosen)))

    def _now(self) -> datetime:
        path = Path(self.plan.clock_file)
        if path.exists() != isinstance(self._clock, ReplayClock):
            self._clock = open_clock(path)
        return self._clock.now()


def _stacked(columns: Sequence[Sequence[int] | np.ndarray], rows: int, dtype: type[np.generic]) -> np.ndarray:
    return np.array(columns, dtype=dtype).reshape(len(columns), rows)


def _schemas(lineup: Lineup) -> list[LogSchema]:
    """Return what the log is told to expect: nobody logs a version that only waits."""
    logged = [s for s in lineup.scorers if s.arm.variant in ("champion", "shadow", *ANSWERING)]
    return [schema for scorer in logged for schema in scorer.schemas.values()]
