"""The router: answers batched requests of one model by its plan. Runs inside Triton, and testable outside.

Online features are read, the ONNX graph is fed and scored, the decision is logged. What Triton's Python
backend wants of us is in `triton_model`; the shapes of the feeds are in `feeds`, of the log in `log_frames`.
"""

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime as ort

from ml.clock import Clock, ReplayClock, open_clock
from ml.online_rows import OnlineStoreError
from ml.packed import Key, Value
from serving.feeds import (
    RequestColumns,
    RequestError,
    check_graph,
    joined,
    key_columns,
    request_columns,
    text_feed,
)
from serving.log_frames import ID_BYTES, NEVER, Batch, encode
from serving.online_features import NOT_READ, STATUSES, OnlineFeatures, ViewArrays
from serving.plan import Plan
from serving.prediction_log import PredictionLog

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Request(NamedTuple):
    """One request: tensors [N, 1] by input name. A probe is answered but not logged."""

    tensors: Mapping[str, np.ndarray]
    probe: bool = False


class Answer(NamedTuple):
    """The answer to one request of N rows.

    `value` [N, 1] is the plan's output, float32. `degraded` [N] marks rows answered without some view, because reading
    took longer than the deadline or the store was down. `status` says of each row, as a JSON object by view, whether
    its features were there, and why not. `ages` [N, views] are seconds since the event of each view's row, NaN where
    there is none. `decision` [N]: whether the value reaches the version's threshold, None if it has none.
    """

    value: np.ndarray
    prediction_ids: list[str]
    degraded: np.ndarray
    status: list[str]
    ages: np.ndarray
    decision: np.ndarray | None


class Router:
    """One model's plan at work: session, online features, clock and log."""

    def __init__(self, plan: Plan) -> None:
        """Open everything. Raises LookupError or ValueError if a file is missing or does not fit the plan."""
        self.plan = plan
        self._session = _open_session(plan)
        self._inputs = _Inputs(plan)
        self._features = OnlineFeatures(plan.online_store, plan.views, plan.feature_cache_ms / 1000)
        self._features.require()
        self._store_trouble = ""
        self._clock: Clock = open_clock(Path(plan.clock_file))
        self._log_schema = plan.log_schema()
        self.log = PredictionLog(Path(plan.prediction_log), f"{plan.revision:06d}", self._log_schema)

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
        started = time.perf_counter()
        parsed = [self._parse(request) for request in requests]
        asked = [columns for columns in parsed if isinstance(columns, RequestColumns)]
        if not asked:
            return [columns for columns in parsed if isinstance(columns, Exception)]
        try:
            scored = self._score(joined(asked))
        except Exception as error:
            return [error if isinstance(columns, RequestColumns) else columns for columns in parsed]
        answers: list[Answer | Exception] = []
        logged = np.zeros(len(scored.value), dtype=bool)
        start = 0
        for request, columns in zip(requests, parsed, strict=True):
            if not isinstance(columns, RequestColumns):
                answers.append(columns)
                continue
            part = slice(start, start := start + columns.rows)
            answers.append(self._finish(scored, part))
            logged[part] = not request.probe and not isinstance(answers[-1], Exception)
        self._log(scored, logged, started)
        return answers

    def close(self) -> None:
        """Write out the log and close the online store."""
        self.log.close()
        self._features.close()

    def _parse(self, request: Request) -> RequestColumns | Exception:
        try:
            return request_columns(self.plan, request.tensors)
        except RequestError as error:
            return error

    def _score(self, request: RequestColumns) -> "_Scored":
        now = self._now()
        reads = self._read(key_columns(self.plan, request), now, request.rows)
        features = self._inputs.of_views(reads, request.rows)
        (value,) = self._session.run([self.plan.output], self._inputs.feeds(request, features))
        if value.shape != (request.rows, 1):
            raise ValueError(f"{self.plan.champion.onnx} gave shape {value.shape} for {request.rows} rows")
        ids = os.urandom(ID_BYTES * request.rows)
        status = _stacked([reads[view.name].status for view in self.plan.views], request.rows, np.uint8)
        time_us = (now - _EPOCH) // timedelta(microseconds=1)
        event_us = _stacked([reads[view.name].event_us for view in self.plan.views], request.rows, np.int64)
        return _Scored(request, features, value.reshape(-1), ids, event_us, status, time_us)

    def _read(self, keys: Mapping[str, Sequence[Key]], now: datetime, size: int) -> Mapping[str, ViewArrays]:
        """Read the features, or go without them while the store is down; say once that it is, and that it is back."""
        if not keys:
            return {}
        try:
            reads = self._features.arrays(keys, now, time.perf_counter() + self.plan.deadline_ms / 1000)
            trouble = ""
        except OnlineStoreError as error:
            reads, trouble = self._features.unread_arrays(size), str(error)
        if bool(trouble) != bool(self._store_trouble):
            text = f"answers go without features: {trouble}" if trouble else "the online store is read again"
            print(f"model {self.plan.model!r}: {text}", file=sys.stderr, flush=True)
        self._store_trouble = trouble
        return reads

    def _finish(self, scored: "_Scored", part: slice) -> Answer | Exception:
        value = scored.value[part]
        if not _answers(self.plan.output, value):
            kind = "probabilities" if self.plan.output == "probability" else "numbers"
            return ValueError(
                f"version {self.plan.champion.version} of {self.plan.model!r} gave {value.tolist()}, "
                f"which are no {kind}; roll it back"
            )
        text = scored.ids[ID_BYTES * part.start : ID_BYTES * part.stop].hex()
        ids = [text[place : place + 2 * ID_BYTES] for place in range(0, len(text), 2 * ID_BYTES)]
        status = scored.status[:, part]
        names = tuple(view.name for view in self.plan.views)
        told = [_as_json(names, codes) for codes in zip(*status.tolist(), strict=True)] if names else ["{}"] * len(ids)
        events = scored.event_us[:, part].T
        ages = np.where(events == NEVER, np.nan, (scored.time_us - events) / 1e6).astype(np.float32)
        threshold = self.plan.champion.threshold
        decision = None if threshold is None else value >= threshold
        degraded = (status == NOT_READ).any(axis=0)
        return Answer(value.reshape(-1, 1).astype(np.float32), ids, degraded, told, ages, decision)

    def _log(self, scored: "_Scored", logged: np.ndarray, started: float) -> None:
        """Keep what was answered, and what it was answered from."""
        if not logged.any():
            return
        request = scored.request
        taken_us = round((time.perf_counter() - started) * 1e6)
        batch = Batch(
            scored.time_us,
            taken_us,
            scored.ids,
            scored.value,
            scored.event_us,
            scored.status,
            np.array([request.numbers[name] for name, _ in self._log_schema.numbers]).reshape(-1, request.rows),
            scored.features.numbers,
            [*(request.texts[name] for name in self._log_schema.texts), *scored.features.texts],
        )
        self.log.append(encode(self._log_schema, batch if logged.all() else batch.only(logged)))

    def _now(self) -> datetime:
        path = Path(self.plan.clock_file)
        if path.exists() != isinstance(self._clock, ReplayClock):
            self._clock = open_clock(path)
        return self._clock.now()


class _Features(NamedTuple):
    """The graph's inputs from views: numbers float64 [columns, N], NaN where missing; texts, N a column."""

    numbers: np.ndarray
    texts: list[Sequence[Value] | np.ndarray]


class _Inputs:
    """What the graph's inputs are made of, worked out once for a plan."""

    def __init__(self, plan: Plan) -> None:
        kinds = {(view.name, field.name): field.kind for view in plan.views for field in view.fields}
        places = {(view.name, f.name): place for view in plan.views for place, f in enumerate(view.fields)}
        of_views = [(i, i.view, places[i.view, i.source]) for i in plan.inputs if i.view is not None]
        self._numbers = [(i, v, place) for i, v, place in of_views if kinds[v, i.source] != "string"]
        self._texts = [(i, v, place) for i, v, place in of_views if kinds[v, i.source] == "string"]
        self._request = [i for i in plan.inputs if i.view is None]

    def of_views(self, reads: Mapping[str, ViewArrays], rows: int) -> _Features:
        """Return what was read, in the order of the prediction log."""
        numbers = np.array([reads[view].values[place] for _, view, place in self._numbers], dtype=np.float64)
        texts = [reads[view].values[place] for _, view, place in self._texts]
        return _Features(numbers.reshape(len(self._numbers), rows), texts)

    def feeds(self, request: RequestColumns, features: _Features) -> dict[str, np.ndarray]:
        """Return the graph's inputs, each [N, 1]."""
        single = features.numbers.astype(np.float32)
        feeds = {
            i.column: (features.numbers if i.kind == "time" else single)[row].reshape(-1, 1)
            for row, (i, _, _) in enumerate(self._numbers)
        }
        feeds |= {i.column: text_feed(column) for (i, _, _), column in zip(self._texts, features.texts, strict=True)}
        for i in self._request:
            if i.kind == "categorical":
                feeds[i.column] = text_feed(request.texts[i.source])
            else:
                dtype = np.float64 if i.kind == "time" else np.float32
                feeds[i.column] = request.numbers[i.source].astype(dtype).reshape(-1, 1)
        return feeds


class _Scored(NamedTuple):
    """What a batch was answered from, and the answers [N].

    `event_us` [views, N] and `status` [views, N], places in STATUSES, are as in the log.
    """

    request: RequestColumns
    features: _Features
    value: np.ndarray
    ids: bytes
    event_us: np.ndarray
    status: np.ndarray
    time_us: int


def _answers(output: str, value: np.ndarray) -> bool:
    if output == "probability":
        return bool(np.all((value >= 0) & (value <= 1)))
    return bool(np.isfinite(value).all())


def _stacked(columns: Sequence[Sequence[int] | np.ndarray], rows: int, dtype: type[np.generic]) -> np.ndarray:
    return np.array(columns, dtype=dtype).reshape(len(columns), rows)


@lru_cache(maxsize=4096)
def _as_json(names: tuple[str, ...], codes: tuple[int, ...]) -> str:
    return json.dumps({name: STATUSES[code] for name, code in zip(names, codes, strict=True)})


def _open_session(plan: Plan) -> ort.InferenceSession:
    if not Path(plan.champion.onnx).is_file():
        raise LookupError(f"no ONNX file at {plan.champion.onnx}; deploy model {plan.model!r} again")
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(plan.champion.onnx, options, providers=["CPUExecutionProvider"])
    check_graph(plan, {i.name: i.type for i in session.get_inputs()}, [o.name for o in session.get_outputs()])
    return session
