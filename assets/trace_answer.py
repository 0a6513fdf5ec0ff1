"""An answer by its id: from the serving log or the lake, the plan that it was answered by, the model that answered.

What its features were made from is in `trace_features`.
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
from checks.required import required_checks
from ml.lake import WHOLE
from ml.onnx_file import ONNX_SHA256, file_hash
from ml.registry import TRAINING_SET_VERSION
from ml.trace import Step, attempt
from serving.log_reader import find
from serving.model_repository import ModelRepository
from serving.plan import Plan, Version

if TYPE_CHECKING:
    from ml.registry import ModelVersion

_TOLD = {  # tags of a version, and what they are called here
    "approved_by": "approved by",
    "git_commit": "git commit",
    "lock_hash": "lock hash",
    "python": "python",
    "torch": "torch",
}


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


def model_step(platform: Platform, answer: Answer) -> Step:
    """Return the model version, its run and code, and the training set that it learned from."""
    model, number = answer.row["model"], answer.row["model_version"]
    name, facts, gone = f"{model} version {number}", dict[str, Any](), list[str]()
    try:
        version = platform.registry.version(model, number)
        tags, run = version.tags, version.run_id
        facts |= {"aliases now": ", ".join(version.aliases) or "none", **_proof(version, answer, gone)}
    except LookupError as error:
        gone.append(str(error))
        tags, run = _from_audit(platform, model, number), ""
        gone.append(f"the run and the code of {name} are not known any more; its checks noted the rest")
        facts["file"] = tags.get(ONNX_SHA256)
    dirty = {"uncommitted changes": "yes, kept with the run"} if tags.get("git_dirty") == "True" else {}
    facts |= {"mlflow run": run, **{name: tags[key] for key, name in _TOLD.items() if key in tags}, **dirty}
    below = [attempt("checks", "checks", lambda: audit_step(platform.guard, [(f"{model}/model", WHOLE, int(number))]))]
    if TRAINING_SET_VERSION in tags:
        at = int(tags[TRAINING_SET_VERSION])
        told = f"{model}/training_set version {at}"
        below.append(
            attempt("data", told, lambda: _training_set(platform, model, at, tags.get("training_set_hash", "")))
        )
    else:
        gone.append(f"which training set {name} learned from is not known any more")
    told = {key: value for key, value in facts.items() if value}
    return Step("model", name, told, _way(platform, model, number), tuple(gone), tuple(below))


def _way(platform: Platform, model: str, number: str) -> tuple[dict[str, Any], ...]:
    """Return what the loop, or a person it waited for, did about a version: trained, approved, canary, champion."""
    events = platform.loop_log.rows(model).filter(version=number)
    return tuple(
        {"event": row["event"], "at": row["at"], "by": row["actor"], "why": row["reason"]}
        for row in events.iter_rows(named=True)
    )


def _proof(version: "ModelVersion", answer: Answer, gone: list[str]) -> dict[str, Any]:
    """Say whether the file that answered is the registered one."""
    registered, served = version.tags.get(ONNX_SHA256, ""), answer.version
    if served is None:
        return {"registered file": registered}
    if not Path(served.onnx).is_file():
        gone.append(f"the file that answered is gone: {served.onnx}; registered is {registered}")
        return {"registered file": registered}
    found = file_hash(Path(served.onnx))
    if found != registered:
        gone.append(f"the file that answered, {served.onnx}, has the hash {found}; registered is {registered}")
    return {"file": f"{found}, as registered" if found == registered else found}


def _from_audit(platform: Platform, model: str, number: str) -> dict[str, str]:
    """Return what checks noted of a version that is gone from the registry, as its tags would have it."""
    table, found = f"{model}/model", dict[str, str]()
    for check in required_checks(table):
        verdict = platform.verdicts.newest(table, int(number), WHOLE, check)
        noted = (TRAINING_SET_VERSION, ONNX_SHA256)
        found |= {key: str(verdict.evidence[key]) for key in noted if verdict and key in verdict.evidence}
    return found


def _training_set(platform: Platform, model: str, version: int, expected: str) -> Step:
    table, gone = f"{model}/training_set", list[str]()
    recorded = platform.lake.metadata(table, version)
    commits = {commit["version"]: commit for commit in platform.lake.history(table)}
    if expected and recorded["content"] != expected:
        gone.append(f"{table} version {version} has the hash {recorded['content']}; the model learned from {expected}")
    try:
        lost = platform.lake.lost(table, version)
        gone += [f"{table} version {version} lacks {len(lost)} of its data files: removed, or damaged"] if lost else []
    except LookupError as error:
        gone.append(str(error))
    git = recorded.get("git") or {}
    facts = {
        "rows": recorded.get("rows"),
        "hash": recorded["content"],
        "built": _instant(commits[version]["timestamp"]),
        "as of": recorded.get("as_of"),
        "joined from": {f"published/{name}": at for name, at in (recorded.get("sources") or {}).items()},
        "dbt manifest": recorded.get("dbt_manifest"),
        "git commit": git.get("commit", "") + (", with uncommitted changes" if git.get("dirty") else ""),
    }
    checks = attempt("checks", "checks", lambda: audit_step(platform.guard, [(table, WHOLE, version)]))
    told = {key: value for key, value in facts.items() if value}
    return Step("data", f"{table} version {version}", told, gone=tuple(gone), below=(checks,))


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


def _instant(milliseconds: int) -> Any:
    return pl.from_epoch(pl.Series([milliseconds]), "ms").dt.replace_time_zone("UTC")[0]
