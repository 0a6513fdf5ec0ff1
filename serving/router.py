"""The router: answers batched requests of one model by its plan. Runs inside Triton, and testable outside.

Online features are read, the ONNX graph is fed and scored, the decision is logged. What Triton's Python
backend wants of us is in `triton_model`; the shapes of the feeds are in `feeds`.
"""

import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime as ort

from ml.clock import Clock, ReplayClock, open_clock
from ml.online_rows import OnlineStoreError
from ml.packed import Key, Value
from serving.feeds import RequestError, RequestRow, check_graph, feed, key_columns, request_rows
from serving.online_features import OnlineFeatures, Status, ViewRows
from serving.plan import Plan
from serving.prediction_log import PredictionLog

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Request(NamedTuple):
    """One request: tensors [N, 1] by input name. A probe is answered but not logged."""

    tensors: Mapping[str, np.ndarray]
    probe: bool = False


class Answer(NamedTuple):
    """The answer to one request of N rows.

    `value` [N, 1] is the plan's output, float32. `degraded` marks rows answered without some view, because reading
    took longer than the deadline or the store was down. `status` says of each row, per view, whether its features
    were there, and why not.
    """

    value: np.ndarray
    prediction_ids: list[str]
    degraded: list[bool]
    status: list[dict[str, Status]]


class Router:
    """One model's plan at work: session, online features, clock and log."""

    def __init__(self, plan: Plan) -> None:
        """Open everything. Raises LookupError or ValueError if a file is missing or does not fit the plan."""
        self.plan = plan
        self._session = _open_session(plan)
        self._features = OnlineFeatures(plan.online_store, plan.views)
        self._features.require()
        self._store_trouble = ""
        self._clock: Clock = open_clock(Path(plan.clock_file))
        self.log: PredictionLog | None = None
        if plan.log.enabled:
            self.log = PredictionLog(Path(plan.prediction_log), f"{plan.revision:06d}")

    def self_test(self) -> None:
        """Answer one row in which everything is missing. Raises whatever keeps the model from answering."""
        missing = {
            field.name: np.array([[b""]], dtype=object) if field.dtype == "BYTES" else np.array([[np.nan]])
            for field in self.plan.request
        }
        answer = self.answer([Request(missing, probe=True)])[0]
        if isinstance(answer, Exception):
            raise answer

    def answer(self, requests: Sequence[Request]) -> list[Answer | Exception]:
        """Return an answer or the error for each request; one bad request does not spoil its batch."""
        parsed = [self._parse(request) for request in requests]
        rows = list(chain.from_iterable(rows for rows in parsed if not isinstance(rows, Exception)))
        try:
            scored = self._score(rows) if rows else _Scored({}, {}, {}, np.empty(0), 0)
        except Exception as error:
            return [rows if isinstance(rows, Exception) else error for rows in parsed]
        answers: list[Answer | Exception] = []
        start = 0
        for request, parsed_rows in zip(requests, parsed, strict=True):
            if isinstance(parsed_rows, Exception):
                answers.append(parsed_rows)
                continue
            part = slice(start, start + len(parsed_rows))
            start = part.stop
            answers.append(self._finish(request, parsed_rows, scored, part))
        return answers

    def close(self) -> None:
        """Write out the log and close the online store."""
        if self.log is not None:
            self.log.close()
        self._features.close()

    def _parse(self, request: Request) -> list[RequestRow] | Exception:
        try:
            return request_rows(self.plan, request.tensors)
        except RequestError as error:
            return error

    def _score(self, rows: Sequence[RequestRow]) -> "_Scored":
        now, keys = self._now(), key_columns(self.plan, rows)
        reads = self._read(keys, now, len(rows))
        places = {(view.name, f.name): place for view in self.plan.views for place, f in enumerate(view.fields)}
        features = {i.column: reads[i.view].values[places[i.view, i.source]] for i in self.plan.inputs if i.view}
        values = {i.column: features[i.column] if i.view else [row[i.source] for row in rows] for i in self.plan.inputs}
        feeds = {i.column: feed(i.kind, values[i.column]) for i in self.plan.inputs}
        (value,) = self._session.run([self.plan.output], feeds)
        if value.shape != (len(rows), 1):
            raise ValueError(f"{self.plan.champion.onnx} gave shape {value.shape} for {len(rows)} rows")
        time_us = (now - _EPOCH) // timedelta(microseconds=1)
        return _Scored(keys, reads, features, value.reshape(-1), time_us)

    def _read(self, keys: Mapping[str, Sequence[Key]], now: datetime, size: int) -> dict[str, ViewRows]:
        """Read the features, or go without them while the store is down; say once that it is, and that it is back."""
        if not keys:
            return {}
        try:
            reads = self._features.read(keys, now, time.perf_counter() + self.plan.deadline_ms / 1000)
            trouble = ""
        except OnlineStoreError as error:
            reads, trouble = self._features.unread(size), str(error)
        if bool(trouble) != bool(self._store_trouble):
            text = f"answers go without features: {trouble}" if trouble else "the online store is read again"
            print(f"model {self.plan.model!r}: {text}", file=sys.stderr, flush=True)
        self._store_trouble = trouble
        return reads

    def _finish(
        self, request: Request, rows: Sequence[RequestRow], scored: "_Scored", part: slice
    ) -> Answer | Exception:
        value = scored.value[part]
        if not _answers(self.plan.output, value):
            kind = "probabilities" if self.plan.output == "probability" else "numbers"
            return ValueError(
                f"version {self.plan.champion.version} of {self.plan.model!r} gave {value.tolist()}, "
                f"which are no {kind}; roll it back"
            )
        status = [
            {name: read.status[index] for name, read in scored.reads.items()} for index in range(part.start, part.stop)
        ]
        answer = Answer(
            value.astype(np.float32).reshape(-1, 1),
            [uuid.uuid4().hex for _ in rows],
            ["not_read" in views.values() for views in status],
            status,
        )
        if self.log is not None and not request.probe:
            for index, row in enumerate(rows):
                self.log.append(self._line(answer, index, row, scored, part.start + index))
        return answer

    def _line(self, answer: Answer, index: int, row: RequestRow, scored: "_Scored", place: int) -> dict[str, Any]:
        """One line of the log: row `index` of the answer, row `place` of what was scored."""
        return {
            "prediction_id": answer.prediction_ids[index],
            "time_us": scored.time_us,
            "model": self.plan.model,
            "model_version": self.plan.champion.version,
            "revision": self.plan.revision,
            "keys": {name: column[place] for name, column in scored.keys.items()},
            "request": {name: value for name, value in row.items() if name not in scored.keys},
            "features": {name: _without_nan(column[place]) for name, column in scored.features.items()}
            if self.plan.log.features
            else {},
            "event_us": {name: read.event_us[place] for name, read in scored.reads.items()},
            "status": answer.status[index],
            self.plan.output: float(answer.value[index, 0]),
            "degraded": answer.degraded[index],
        }

    def _now(self) -> datetime:
        path = Path(self.plan.clock_file)
        if path.exists() != isinstance(self._clock, ReplayClock):
            self._clock = open_clock(path)
        return self._clock.now()


class _Scored(NamedTuple):
    """What a batch was answered from: join keys and features by column, reads by view, one entry a row."""

    keys: Mapping[str, Sequence[Key]]
    reads: Mapping[str, ViewRows]
    features: Mapping[str, Sequence[Value]]
    value: np.ndarray
    time_us: int


def _answers(output: str, value: np.ndarray) -> bool:
    if output == "probability":
        return bool(np.all((value >= 0) & (value <= 1)))
    return bool(np.isfinite(value).all())


def _without_nan(value: Value) -> Value:
    return None if value != value else value


def _open_session(plan: Plan) -> ort.InferenceSession:
    if not Path(plan.champion.onnx).is_file():
        raise LookupError(f"no ONNX file at {plan.champion.onnx}; deploy model {plan.model!r} again")
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(plan.champion.onnx, options, providers=["CPUExecutionProvider"])
    check_graph(plan, {i.name: i.type for i in session.get_inputs()}, [o.name for o in session.get_outputs()])
    return session
