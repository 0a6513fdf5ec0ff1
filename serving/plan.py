"""The deployed plan: all that the router needs to answer for one model, as data.

Runs in the serving environment. Reading a plan from its file is in `plan_json`, making one from a ModelSpec in
`build_plan`, keeping plans in `model_repository`; which row goes to which version is in `assignment`.
"""

import dataclasses
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ml.packed import Field
from serving.log_frames import LogSchema

MAX_BATCH = 256  # rows that one request may hold
EXPLAIN = "headwater_explain"  # request parameter: say which inputs moved each answer most, so many
TRACEPARENT = "headwater_traceparent"  # request parameter: the span of who asks, as in W3C's header traceparent
KIND = "headwater_kind."  # parameter of Triton's configuration: what a field means, after its name

InputKind = Literal["numeric", "categorical", "time"]
TritonType = Literal["BYTES", "FP64"]
Output = Literal["probability", "value"]
FieldKind = Literal["", "string", "int", "numeric", "categorical", "time", "local_time"]
Variant = Literal["champion", "canary", "challenger", "shadow", "previous", "candidate"]
ANSWERING: tuple[Variant, ...] = ("canary", "challenger")  # beside the champion: they get a share of the keys


@dataclass(frozen=True)
class JoinKey:
    """A join key's name and kind; the request has an input of the same name."""

    name: str
    kind: Literal["string", "int"]


@dataclass(frozen=True)
class View:
    """An online feature view: join keys, time to live in seconds, fields in packed order."""

    name: str
    join_keys: tuple[JoinKey, ...]
    ttl_seconds: float
    fields: tuple[Field, ...]


@dataclass(frozen=True)
class Input:
    """One input [N, 1] of the ONNX graph, and the view's field behind it (view None: the request field)."""

    column: str
    kind: InputKind
    view: str | None
    source: str


@dataclass(frozen=True)
class Version:
    """A model version: the absolute path of its ONNX file, that file's inputs, the probability from which one acts.

    `own` is the name of the Triton model that scores it; "": the router does (serving.own_model). `defaults` is the
    file of rows to answer with while features are not read (serving.defaults); "": then they are missing.
    """

    version: str
    onnx: str
    inputs: tuple[Input, ...]
    threshold: float | None = None
    own: str = ""
    defaults: str = ""


@dataclass(frozen=True)
class Arm:
    """A version beside the champion, and what it is there for.

    A `canary` and a `challenger` (of an A/B test) answer a `share` of the keys. A `shadow` scores its share, too, and
    is logged, but answers nobody. `previous` and `candidate` are kept open and answer only who names them.
    """

    variant: Variant
    version: Version
    share: float = 0.0


@dataclass(frozen=True)
class Change:
    """Why there is this revision: what was done, by whom, why, and when (ISO, by the platform's clock)."""

    action: str = "deploy"
    by: str = ""
    why: str = ""
    at: str = ""


@dataclass(frozen=True)
class RequestInput:
    """One input [N, 1] of the Triton model: a join key (string, int) or a request field, and what it means.

    A `time` is an instant, a `local_time` what a clock shows at the place; "": a plan of before kinds were kept.
    """

    name: str
    dtype: TritonType
    kind: FieldKind = ""


@dataclass(frozen=True)
class Plan:
    """One revision of one served model. Immutable: a change is a new revision.

    The `champion` answers every key that no other of the `arms` has a share of; keys are the request's fields
    `sticky_by` (none: all join keys). `views` are those that any of the versions reads.

    `output` is the graph's output and what the answer is called: a probability, or a value in the label's unit.

    `deadline_ms` bounds the reading of online features, `feature_cache_ms` how long a row that was read may answer
    again; `processes` of the router share the requests, of which `max_queue` may wait, each `max_wait_ms`.
    `online_store` is the store's address (`ml.online_rows.open_online_rows`), `clock_file` exists only while time is
    replayed, `prediction_log` is the folder of the prediction log.
    """

    model: str
    revision: int
    champion: Version
    views: tuple[View, ...]
    request: tuple[RequestInput, ...]
    online_store: str
    clock_file: str
    prediction_log: str
    deadline_ms: int
    output: Output = "probability"
    feature_cache_ms: int = 0
    processes: int = 1
    max_queue: int = 0
    max_wait_ms: int = 1000
    arms: tuple[Arm, ...] = ()
    sticky_by: tuple[str, ...] = ()
    sessions_mb: int = 1024
    change: Change = Change()

    def __post_init__(self) -> None:
        problem = next(_problems(self), None)
        if problem:
            raise ValueError(f"plan of model {self.model!r}, revision {self.revision}: {problem}")

    def to_json(self) -> str:
        """Return the plan as JSON text, fields in order."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"

    @property
    def lineup(self) -> tuple[Arm, ...]:
        """All versions, the champion first."""
        return (Arm("champion", self.champion, 1.0), *self.arms)

    @property
    def decides(self) -> bool:
        """Whether answers say to act or not."""
        return self.champion.threshold is not None

    def arm(self, variant: Variant) -> Arm | None:
        """Return the first arm of this kind, None if there is none."""
        return next((arm for arm in self.lineup if arm.variant == variant), None)

    def arm_of(self, version: str) -> Arm | None:
        """Return the arm of a version, None if the plan does not name it."""
        return next((arm for arm in self.lineup if arm.version.version == version), None)

    def views_of(self, version: Version) -> tuple[View, ...]:
        """Return the views that a version reads, in the plan's order."""
        read = {wanted.view for wanted in version.inputs}
        return tuple(view for view in self.views if view.name in read)

    def log_schema(self, arm: Arm | None = None, answered: bool = True) -> LogSchema:
        """Return what the prediction log keeps of an arm's rows (default: the champion's)."""
        arm = self.lineup[0] if arm is None else arm
        whole = {key.name for view in self.views for key in view.join_keys if key.kind == "int"}
        kinds = {(view.name, field.name): field.kind for view in self.views for field in view.fields}
        features = [(i.column, kinds[i.view, i.source]) for i in arm.version.inputs if i.view is not None]
        return LogSchema(
            model=self.model,
            revision=self.revision,
            model_version=arm.version.version,
            output=self.output,
            views=tuple(view.name for view in self.views_of(arm.version)),
            numbers=tuple((r.name, "int" if r.name in whole else "float") for r in self.request if r.dtype == "FP64"),
            texts=tuple(r.name for r in self.request if r.dtype == "BYTES"),
            features=tuple((name, kind) for name, kind in features if kind != "string"),
            text_features=tuple(name for name, kind in features if kind == "string"),
            variant=arm.variant,
            answered=answered,
        )


def _problems(plan: Plan) -> Iterator[str]:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", plan.model):
        yield "the model's name is not lower_snake_case"
    if plan.revision < 1 or plan.deadline_ms < 1:
        yield "revision and deadline_ms must be positive"
    sources: dict[str | None, set[str]] = {None: {field.name for field in plan.request}}
    for view in plan.views:
        sources[view.name] = {field.name for field in view.fields}
        for key in view.join_keys:
            if key.name not in sources[None]:
                yield f"join key {key.name!r} of view {view.name!r} is not among the request's inputs"
        if view.ttl_seconds <= 0:
            yield f"ttl_seconds of view {view.name!r} is not positive"
    for name in set(plan.sticky_by) - sources[None]:
        yield f"sticky_by names {name!r}, which is not among the request's inputs"
    for names in ([r.name for r in plan.request], [v.name for v in plan.views]):
        yield from _repeated(names)
    for arm in plan.lineup:
        yield from _version_problems(arm.version, sources)
    yield from _arm_problems(plan)


def _version_problems(version: Version, sources: dict[str | None, set[str]]) -> Iterator[str]:
    for wanted in version.inputs:
        if wanted.source not in sources.get(wanted.view, set()):
            owner = wanted.view or "the request"
            yield f"input {wanted.column!r} reads {wanted.source!r} of {owner}, which lacks it"
    yield from _repeated([i.column for i in version.inputs])


def _arm_problems(plan: Plan) -> Iterator[str]:
    for arm in plan.arms:
        told = f"{arm.variant} {arm.version.version}"
        if arm.variant == "champion" or arm.version.version == plan.champion.version:
            yield f"{told} is the champion already"
        if not 0 <= arm.share <= 1:
            yield f"the share of {told} is {arm.share}; it must be from 0 to 1"
        if (arm.version.threshold is None) != (plan.champion.threshold is None):
            yield f"{told} and the champion differ in whether they decide; train both from one spec"
    if sum(arm.share for arm in plan.arms if arm.variant in ANSWERING) > 1:
        yield "the shares of canary and challenger are above 1 together"
    yield from _repeated([arm.version.version for arm in plan.arms])
    yield from _repeated([arm.variant for arm in plan.arms if arm.variant not in ("shadow", "candidate")])


def _repeated(names: list[str]) -> Iterator[str]:
    for name, times in Counter(names).items():
        if times > 1:
            yield f"{name!r} is named more than once"
