"""An answer by its id, from the serving log or the lake, and the plan that it was answered by.

The model that answered is in `trace_model`, what its features were made from in `trace_features`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from assets.resources import Platform
from checks.audit_trail import audit_step
from ml.lake import WHOLE
from ml.trace import Step, attempt
from serving.log_reader import find
from serving.model_repository import ModelRepository
from serving.plan import Plan, Version

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Answer:
    """What a caller was answered: its row of the log, and those of versions that scored it too and answered nobody."""

    row: Mapping[str, Any]
    others: tuple[Mapping[str, Any], ...]
    places: tuple[str, ...]
    damage: tuple[str, ...]
    plan: Plan | None

    @property
    def version(self) -> Version | None:
        """The version as the plan has it."""
        arm = self.plan.arm_of(self.row["model_version"]) if self.plan else None
        return arm.version if arm else None

    def step(self, below: tuple[Step, ...]) -> Step:
        """Return the answer, standing on `below`."""
        row = self.row
        output = "probability" if "probability" in row else "value"
        facts: dict[str, Any] = {
            "answer": f"{output} {row[output]:.6g}, {row['variant']} version {row['model_version']} of {row['model']}",
            "at": row["time"],
            **self._decision(row[output]),
            "degraded": "yes, features were not read" if row["degraded"] else "no",
            "asked for": {name: row[name] for name in self._asked() if row.get(name) is not None},
            "kept in": ", ".join(self.places),
        }
        if self.others:
            facts["scored too"] = ", ".join(f"{o['variant']} version {o['model_version']}" for o in self.others)
        return Step("prediction", f"prediction {row['prediction_id']}", facts, gone=self.damage, below=below)

    def _decision(self, value: float) -> dict[str, str]:
        threshold = self.version.threshold if self.version else None
        if threshold is None:
            return {}
        acts = np.float32(value) >= np.float32(threshold)  # as the router compares
        return {"decision": f"{'act' if acts else 'do not act'} (from {threshold:.4g} on)"}

    def _asked(self) -> list[str]:
        if self.plan:
            return [field.name for field in self.plan.request]
        known = {"prediction_id", "time", "model", "model_version", "variant", "answered", "revision", "degraded"}
        return [n for n in self.row if "__" not in n and n not in {*known, "taken_ms", "probability", "value"}]


def find_answer(platform: Platform, prediction_id: str) -> Answer:
    """Return an answer by its id, wherever it is kept.

    Raises ValueError if that is no id, LookupError naming where it was looked for, and what was damaged there.
    """
    wanted = prediction_id.strip().lower()
    if not re.fullmatch(r"[0-9a-f]{32}", wanted):
        raise ValueError(f"{prediction_id!r} is no prediction id: an answer bears 32 hexadecimal digits")
    logs = platform.settings.serving_home / "predictions"
    found, places, damage = list[pl.DataFrame](), list[str](), list[str]()
    for folder in sorted(path for path in logs.glob("*") if path.is_dir()):
        rows, broken = find(folder, wanted)
        damage += broken
        if rows.height:
            found.append(rows)
            places.append("the serving log")
    for table in (name for name in platform.lake.tables() if name.endswith("/predictions")):
        try:
            rows = platform.lake.read(table).filter(pl.col("prediction_id") == wanted).collect()
        except LookupError as error:
            damage.append(str(error))
            continue
        if rows.height:
            found.append(rows)
            places.append(table)
    if not found:
        raise LookupError(_not_found(wanted, logs, damage))
    answered = found[0].filter("answered") if "answered" in found[0].columns else found[0]
    row = (answered if answered.height else found[0]).row(0, named=True)
    others = tuple(r for r in found[0].iter_rows(named=True) if r != row)
    return Answer(row, others, tuple(places), tuple(damage), _plan(platform, row))


def _plan(platform: Platform, row: Mapping[str, Any]) -> Plan | None:
    try:
        return ModelRepository(platform.settings.serving_home).plan(row["model"], row["revision"])
    except ValueError:
        return None  # said by the step of the plan


def _not_found(wanted: str, logs: Path, damage: list[str]) -> str:
    broken = f"; these could not be read: {'; '.join(damage)}" if damage else ""
    return (
        f"no prediction {wanted} in the serving logs under {logs} or a table <model>/predictions: it was a probe "
        f"(which are not logged), of another home, or its log went before it landed{broken}"
    )


def serving_step(platform: Platform, answer: Answer) -> Step:
    """Return the plan that the router answered by: who changed it last, and who gave the version its part."""
    model, revision = answer.row["model"], answer.row["revision"]
    repository = ModelRepository(platform.settings.serving_home)
    plan = repository.plan(model, revision)
    if plan is None:
        raise LookupError(f"plan revision {revision} of {model} is gone from {repository.home / 'plans'}")
    version, variant = answer.row["model_version"], answer.row["variant"]
    since = _since(repository, plan, version, variant)
    facts = {
        "changed by": _change(plan),
        f"{variant} since": "this revision"
        if since.revision == revision
        else f"revision {since.revision}: {_change(since)}",
        "beside it": ", ".join(f"{arm.variant} {arm.version.version}" for arm in plan.arms) or "nobody",
    }
    now = repository.deployed(model)
    if now is not None and now.revision != revision:
        facts["serves now"] = f"revision {now.revision}: champion version {now.champion.version}"
    return Step("serving", f"plan revision {revision} of {model}", facts)


def _since(repository: ModelRepository, plan: Plan, version: str, variant: str) -> Plan:
    """Return the revision with which the version got the part that it had."""
    found = plan
    for before in repository.before(plan.model, plan.revision):
        arm = before.arm_of(version)
        if arm is None or arm.variant != variant:
            break
        found = before
    return found


def _change(plan: Plan) -> str:
    change = plan.change
    parts = (change.action, change.by and f"by {change.by}", change.at and f"at {change.at}", change.why)
    return ", ".join(part for part in parts if part)


def landed_step(platform: Platform, answer: Answer) -> Iterator[Step]:
    """Yield the checks on the table of answers up to this one, if it has landed."""
    table = f"{answer.row['model']}/predictions"
    if table in answer.places:
        yield attempt("data", table, lambda: _landed(platform, table, answer.row["prediction_id"]))


def _landed(platform: Platform, table: str, prediction_id: str) -> Step:
    """Return the checks on the first version of the table that has the answer and was judged."""
    for version in platform.verdicts.rows(table)["version"].unique().sort():
        rows = platform.lake.read(table, version).filter(pl.col("prediction_id") == prediction_id)
        if rows.select(pl.len()).collect().item():
            checks = audit_step(platform.guard, [(table, WHOLE, version)])
            return Step("data", f"{table} version {version}", below=(checks,))
    return Step("data", table, gone=("no check has judged it since this answer landed",))
