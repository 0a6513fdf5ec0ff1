"""The router: answers batched requests of one model by its plan. Runs inside Triton, and testable outside.

Online features are read, each row's version scores it, the decision is logged. Another plan takes over between two
batches (`swap`). What Triton's Python backend wants of us is in `triton_model`; who watches for another plan, in
`plan_watch`.
"""

import os
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

import numpy as np

from ml.clock import Clock, ReplayClock, open_clock
from serving.answer import Answer, Request, finish
from serving.explanation import MOST_ROWS
from serving.feeds import RequestColumns, RequestError, joined, request_columns
from serving.lineup import Lineup
from serving.log_frames import ID_BYTES, LogSchema
from serving.logged import frame_of
from serving.plan import ANSWERING, EXPLAIN, Plan
from serving.prediction_log import PredictionLog
from serving.reader import Need
from serving.reads import Reads
from serving.scored import By, Known, Scored, by_version, score_all, score_by
from serving.scorer import Call
from serving.seen import Levels, Seen, Watcher
from serving.sessions import Sessions
from serving.shadow import Shadows


class Router:
    """One model's plan at work: the lineup of its versions, clock and log."""

    def __init__(self, plan: Plan, call: Call | None = None) -> None:
        """Open everything; `call` scores by a Triton model of its own, for versions that are one.

        Raises LookupError or ValueError if a file is missing or does not fit the plan.
        """
        self._sessions, self._call = Sessions(plan.sessions_mb * 2**20), call
        self._lineup = Lineup(plan, self._sessions, None, call)
        self._version_trouble = ""
        self._clock: Clock = open_clock(Path(plan.clock_file))
        self.log = PredictionLog(Path(plan.prediction_log), f"{plan.revision:06d}", _schemas(self._lineup))
        self._shadows = Shadows()
        self.watchers: list[Watcher] = []

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
        self._lineup = lineup  # what the one before had open goes with the last batch that it answers
        self._sessions.forget([*lineup.files(), *before.files()])

    def answer(self, requests: Sequence[Request]) -> list[Answer | Exception]:
        """Return an answer or the error for each request; one bad request does not spoil its batch."""
        seen = Seen(requests)
        seen.answers = self._answer(requests, seen)
        for watcher in self.watchers:
            watcher.answered(seen)
        return list(seen.answers)

    def waits_for(self, request: Request) -> frozenset[Need]:
        """Return what an answer waits for, by other views than all the others'; empty: it may be answered with them."""
        lineup = self._lineup
        if lineup.alike or (len(lineup.needs) == 1 and not request.probe):
            return frozenset()
        if request.probe:
            scorer = lineup.of_version(request.version) if request.version else lineup.champion
            needs = frozenset() if scorer is None else frozenset([scorer.need])
        else:
            needs = self._needs(lineup, request)
        return frozenset() if needs == lineup.needs and len(needs) == 1 else needs

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
        lineup = self._lineup
        parsed = [self._parsed(lineup, request) for request in requests]
        asked = [columns for columns in parsed if isinstance(columns, RequestColumns)]
        seen.lap("parse")
        if not asked:
            return [columns for columns in parsed if isinstance(columns, (Answer, Exception))]
        try:
            scored = self._score(lineup, joined(asked), seen)
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
            answers.append(finish(scored, part, request.explain))
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
        self._lineup.close()

    def _try(self, lineup: Lineup) -> None:
        """Score one row in which everything is missing with every version that may answer one."""
        request = request_columns(lineup.plan, self._missing(lineup.plan))
        for scorer in lineup.scorers:
            if scorer.arm.variant not in ("previous", "candidate") and not scorer.called:
                reads = lineup.reader(scorer).unread(request.rows).arrays
                value = scorer.score(request, scorer.features(reads, request.rows))
                if not scorer.sound(value):
                    raise scorer.unsound(value)

    def _missing(self, plan: Plan | None = None) -> dict[str, np.ndarray]:
        return {
            field.name: np.array([[b""]], dtype=object) if field.dtype == "BYTES" else np.array([[np.nan]])
            for field in (plan or self.plan).request
        }

    def _needs(self, lineup: Lineup, request: Request) -> frozenset[Need]:
        """Return the needs of the versions that a request's rows go to; none of a request that is in error."""
        try:
            places = lineup.assignment.answering(request_columns(lineup.plan, request.tensors))
        except RequestError:
            return frozenset()
        chosen = [lineup.champion] if places is None else [lineup.scorers[place] for place in np.unique(places)]
        return frozenset(scorer.need for scorer in chosen)

    def _parsed(self, lineup: Lineup, request: Request) -> RequestColumns | Answer | Exception:
        """Return a request's columns, or what is its own: the error, or the answer to a probe."""
        if request.refused:
            return RequestError(request.refused)
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
            return finish(score_by(self._known(lineup, columns), scorer), slice(0, columns.rows), request.explain)
        except Exception as error:
            return error

    def _score(self, lineup: Lineup, request: RequestColumns, seen: Seen) -> Scored:
        places = lineup.assignment.answering(request)
        known = self._known(lineup, request)
        known.reads.read([lineup.champion] if places is None else [lineup.scorers[p] for p in np.unique(places)])
        seen.lap("read")
        scored = score_all(known, places)
        for by in scored.by:
            self._tell_version(by)
        return scored

    def _known(self, lineup: Lineup, request: RequestColumns) -> Known:
        return Known(lineup, request, Reads(lineup, request, self._now()), os.urandom(ID_BYTES * request.rows))

    def _tell_version(self, by: By) -> None:
        """Say once that a version fails, and that the champion answers in its place."""
        if by.failed is None:
            return
        told = f"{by.scorer.arm.variant} {by.scorer.version.version}: {by.failed}; the champion answers"
        if told != self._version_trouble:
            print(f"model {self.plan.model!r}: {told}", file=sys.stderr, flush=True)
        self._version_trouble = told

    def _log(self, scored: Scored, logged: np.ndarray, started: float) -> None:
        """Keep what was answered, and what it was answered from; have the shadows do their part later."""
        if not logged.any():
            return
        taken_us = round((time.perf_counter() - started) * 1e6)
        for by in scored.by:
            self._keep(scored.known, by, by.rows(logged), taken_us, not by.failed)
        for place, drawn in scored.known.lineup.assignment.shadows(scored.known.request):
            if (chosen := drawn & logged).any():
                self._shadows.put(partial(self._shadow, scored.known, place, chosen))

    def _shadow(self, known: Known, place: int, chosen: np.ndarray) -> None:
        """Score rows by a shadow; what it reads beside those that answered, it reads here, as of now."""
        started, scorer, rows = time.perf_counter(), known.lineup.scorers[place], int(chosen.sum())
        by = By(scorer, np.full(rows, np.nan), chosen=chosen)
        try:
            if not known.reads.has(scorer):
                known = known._replace(reads=Reads(known.lineup, known.request, self._now(), aside=True))
            by = by_version(known, scorer, chosen)
            self._keep(known, by, chosen, round((time.perf_counter() - started) * 1e6), answered=False)
        except Exception as error:
            by = by._replace(failed=error)
            raise
        finally:
            for watcher in self.watchers:
                watcher.shadowed(by, rows, time.perf_counter() - started)

    def _keep(self, known: Known, by: By, chosen: np.ndarray, taken_us: int, answered: bool) -> None:
        if chosen.any():
            self.log.append(frame_of(known, by, chosen, taken_us, answered))

    def _now(self) -> datetime:
        path = Path(self.plan.clock_file)
        if path.exists() != isinstance(self._clock, ReplayClock):
            self._clock = open_clock(path)
        return self._clock.now()


def _schemas(lineup: Lineup) -> list[LogSchema]:
    """Return what the log is told to expect: nobody logs a version that only waits."""
    logged = [s for s in lineup.scorers if s.arm.variant in ("champion", "shadow", *ANSWERING)]
    return [schema for scorer in logged for schema in scorer.schemas.values()]
