"""The model version that answered, and the training set that it learned from: as MLflow and the lake have them.

What is gone from the registry is told by the checks that judged the version.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from assets.resources import Platform
from assets.trace_answer import Answer
from checks.audit_trail import audit_step
from checks.required import required_checks
from ml.lake import WHOLE
from ml.model_version import TRAINING_SET_VERSION
from ml.onnx_file import ONNX_SHA256, file_hash
from ml.trace import Step, attempt

if TYPE_CHECKING:
    from ml.model_version import ModelVersion

_TOLD = {  # tags of a version, and what they are called here
    "approved_by": "approved by",
    "git_commit": "git commit",
    "lock_hash": "lock hash",
    "python": "python",
    "torch": "torch",
}


def model_step(platform: Platform, answer: Answer) -> Step:
    """Return the model version, its run and code, and the training set that it learned from."""
    model, number = answer.row["model"], answer.row["model_version"]
    name, facts, gone = f"{model} version {number}", dict[str, Any](), list[str]()
    try:
        with platform.registry.failures():
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
    shown = {key: value for key, value in facts.items() if value}
    return Step("model", name, shown, _way(platform, model, number), tuple(gone), tuple(below))


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


def _instant(milliseconds: int) -> Any:
    return pl.from_epoch(pl.Series([milliseconds]), "ms").dt.replace_time_zone("UTC")[0]
