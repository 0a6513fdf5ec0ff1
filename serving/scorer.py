"""Scores rows with one version: feeds its ONNX graph from the request and the online features, and judges its answers.

Runs in the serving environment. What the feeds look like is in `feeds`, open graphs are in `sessions`.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ml.packed import Value
from serving.defaults import Defaults
from serving.explanation import explain
from serving.feeds import RequestColumns, check_graph, text_feed
from serving.online_features import ViewArrays
from serving.plan import Arm, Plan
from serving.sessions import Sessions

Call = Callable[[str, str, dict[str, np.ndarray]], np.ndarray]  # (Triton model, output, feeds [N, 1]) -> [N, 1]


class Features(NamedTuple):
    """A version's inputs from views: numbers float64 [columns, N], NaN where missing; texts, N a column."""

    numbers: np.ndarray
    texts: list[Sequence[Value] | np.ndarray]


class Scorer:
    """One arm of a plan at work; what its inputs are made of is worked out once."""

    def __init__(self, plan: Plan, arm: Arm, sessions: Sessions, call: Call | None = None) -> None:
        """`call` scores by a Triton model of its own; without it, or as a shadow, the graph is opened here."""
        self.arm = arm
        self.version = arm.version
        self._plan, self._sessions = plan, sessions
        # Triton lets a model be called only by what it waits for, and for a shadow nobody waits.
        self._call = call if self.version.own and arm.variant != "shadow" else None
        self.need = tuple(view.name for view in plan.views_of(self.version))
        self.schemas = {answered: plan.log_schema(arm, answered) for answered in (True, False)}
        kinds = {(view.name, field.name): field.kind for view in plan.views for field in view.fields}
        places = {(view.name, f.name): place for view in plan.views for place, f in enumerate(view.fields)}
        of_views = [(i, i.view, places[i.view, i.source]) for i in self.version.inputs if i.view is not None]
        self._numbers = [(i, v, place) for i, v, place in of_views if kinds[v, i.source] != "string"]
        self._texts = [(i, v, place) for i, v, place in of_views if kinds[v, i.source] == "string"]
        self._request = [i for i in self.version.inputs if i.view is None]
        defaults = self.version.defaults
        self._defaults = Defaults(Path(defaults), self.version.inputs) if defaults else None

    def open(self, lazy: bool) -> None:
        """Open the graph and see that it fits; a `lazy` one only where there is room for it.

        Raises LookupError if the file is not there, ValueError if its inputs or outputs are not those of the plan.
        """
        if self._call is not None:
            return
        session = self._sessions.warm(self.version.onnx) if lazy else self._sessions.get(self.version.onnx)
        if session is not None:
            inputs = {i.name: i.type for i in session.get_inputs()}
            check_graph(self._plan, self.version, inputs, [o.name for o in session.get_outputs()])

    @property
    def called(self) -> bool:
        """Whether a Triton model of its own scores; only while a request is answered."""
        return self._call is not None

    def features(self, reads: Mapping[str, ViewArrays], rows: int) -> Features:
        """Return what was read, in the order of the prediction log."""
        numbers = np.array([reads[view].values[place] for _, view, place in self._numbers], dtype=np.float64)
        texts = [reads[view].values[place] for _, view, place in self._texts]
        return Features(numbers.reshape(len(self._numbers), rows), texts)

    def score(self, request: RequestColumns, features: Features, chosen: np.ndarray | None = None) -> np.ndarray:
        """Return the graph's output, float32 [rows], of all rows or of those where `chosen`, bool [N], is true."""
        return self._run(self._feeds_of(request, features, chosen))

    def score_unread(
        self, request: RequestColumns, features: Features, now: float, chosen: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the same where no feature was read: averaged over rows of the training set, if the version has any."""
        feeds = self._feeds_of(request, features, chosen)
        if self._defaults is None:
            return self._run(feeds)
        return self._defaults.mean(self._run(self._defaults.feeds(feeds, now)))

    def explain(self, request: RequestColumns, features: Features, chosen: np.ndarray, top: int) -> list[str]:
        """Return for each of the rows `chosen` which inputs moved its answer most (serving.explanation)."""
        feeds = self._feeds_of(request, features, chosen)
        return explain(feeds, self._run(feeds), self._run, top)

    def _run(self, feeds: dict[str, np.ndarray]) -> np.ndarray:
        rows = len(next(iter(feeds.values())))
        if self._call is not None:
            value = self._call(self.version.own, self._plan.output, feeds)
        else:
            (value,) = self._sessions.get(self.version.onnx).run([self._plan.output], feeds)
        if value.shape != (rows, 1):
            raise ValueError(f"{self.version.onnx} gave shape {value.shape} for {rows} rows")
        return value.reshape(-1)

    def _feeds_of(
        self, request: RequestColumns, features: Features, chosen: np.ndarray | None
    ) -> dict[str, np.ndarray]:
        feeds = self.feeds(request, features)
        return feeds if chosen is None else {name: column[chosen] for name, column in feeds.items()}

    def feeds(self, request: RequestColumns, features: Features) -> dict[str, np.ndarray]:
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

    def sound(self, value: np.ndarray) -> bool:
        """Whether these answers are probabilities, or numbers."""
        return bool(self.sound_rows(value).all())

    def sound_rows(self, value: np.ndarray) -> np.ndarray:
        """Return of each answer whether it is a probability, or a number, bool [N]."""
        return (value >= 0) & (value <= 1) if self._plan.output == "probability" else np.isfinite(value)

    def unsound(self, value: np.ndarray) -> ValueError:
        """Return the error that says that they are not."""
        kind = "probabilities" if self._plan.output == "probability" else "numbers"
        return ValueError(
            f"version {self.version.version} of {self._plan.model!r} gave {value.tolist()}, which are no {kind}; "
            "roll it back"
        )
