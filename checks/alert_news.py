"""What a row of an audit trail means to people: that something began, that it ended, or that they know of it.

Here: the reading of one row. Which rows are new: `checks/alert_trails.py`; whether one is told: `checks/alerts.py`.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from checks.alert_kinds import PERFORMANCE, Alert
from checks.canary import CHECK as CANARY
from ml.lake import ORDER
from serving.rollout import LEFT_SERVICE

LONGEST = 300  # characters of a summary
Row = Mapping[str, Any]

# The events of the loop that are told, and what tells one from others of its kind on the model.
_PARTS: dict[str, Callable[[Row], str]] = {
    **dict.fromkeys(("retrain", "champion", "failed"), lambda row: row["key"]),
    **dict.fromkeys(("refused", "reverted", "waiting"), lambda row: row["version"] or row["key"]),
    "held": lambda row: "",
}


@dataclass(frozen=True)
class Began:
    """Something happened, or happened again."""

    alert: Alert


@dataclass(frozen=True)
class Ended:
    """What lasted is over; without a `part`, whatever there was of that kind on the asset."""

    kind: str
    asset: str
    part: str | None
    why: str
    at: datetime


@dataclass(frozen=True)
class Excused:
    """A person knows of a failed check on a version, and lets it pass until then."""

    asset: str
    part: str
    version: str
    until: datetime


News = Began | Ended | Excused


def of_verdict(row: Row) -> Iterator[News]:
    """Yield what a row of audit/verdicts means. Most mean nothing: a check that passed, or one that only warns."""
    asset, check, passed = row["table"], row["check"], row["passed"]
    if asset.endswith("/performance") and check in PERFORMANCE:
        if "not_judged" not in json.loads(row["evidence"]):
            yield _lasting(row, check, "", f"it holds in the window of {row['partition']}")
    elif asset.endswith("/model"):
        if not passed and (kind := _refusal(row)):
            yield Began(_alert(row, kind, str(row["version"])))
    elif row["blocking"]:
        yield _lasting(row, "check_failed", _part(row), f"version {row['version']} passes {check}")


def of_loop_event(row: Row) -> Iterator[News]:
    """Yield what a row of audit/loop means."""
    event, version, asset, at = row["event"], row["version"], f"{row['model']}/model", row["at"]
    if event in ("waiting", "champion"):  # a newer one: nobody asks about those before any more
        yield Ended("waiting", asset, None, f"version {version} is {event}", at)
    elif event in ("approved", "refused", "reverted"):
        yield Ended("waiting", asset, version, f"version {version} is {event}", at)
    if event in _PARTS:
        evidence = json.loads(row["evidence"])
        told = {"version": version, "run_id": row["run_id"], "part": _PARTS[event](row)}
        step = row["key"].partition(":")[2]  # of one that waits, the key is version:step
        approve = f"make approve NAME={row['model']} VERSION={version} STEP={step}" if event == "waiting" else ""
        hint = _short(evidence.get("remedy") or approve)
        yield Began(Alert(event, asset, _short(row["reason"]), at, row[ORDER], hint=hint, **told))


def of_override(row: Row) -> Iterator[News]:
    """Yield what a row of audit/overrides means: granted, or ended early (its end is not after it was written)."""
    ended, version = row["until"] <= row["at"], str(row["version"])
    kind, until = ("override_ended", "") if ended else ("override", f" until {row['until']:%Y-%m-%d %H:%M} UTC")
    summary = _short(f"{row['check']} by {row['who']}{until}: {row['why']}")
    about = {"partition": row["partition"], "version": version, "check": row["check"]}
    yield Began(Alert(kind, row["table"], summary, row["at"], row[ORDER], part=str(row[ORDER]), **about))
    yield Excused(row["table"], _part(row), version, row["until"])


READERS: dict[str, Callable[[Row], Iterator[News]]] = {
    "audit/verdicts": of_verdict,
    "audit/loop": of_loop_event,
    "audit/overrides": of_override,
}


def _lasting(row: Row, kind: str, part: str, why: str) -> News:
    if row["passed"]:
        return Ended(kind, row["table"], part, why, row["at"])
    return Began(_alert(row, kind, part))


def _refusal(row: Row) -> str:
    """Return the kind of a failed verdict on a version: refused by its gates, or what came of it in service."""
    evidence = json.loads(row["evidence"])
    if evidence.get(LEFT_SERVICE):
        return "reverted"
    if row["check"] == CANARY:
        return "reverted"  # it broke a bound, or nobody could judge it in time
    return "refused" if row["blocking"] else ""


def _alert(row: Row, kind: str, part: str) -> Alert:
    evidence = json.loads(row["evidence"])
    of_answers = row["table"].endswith("/performance")
    version = evidence.get("version") if of_answers else row["version"]  # the model's that answered, not the table's
    return Alert(
        kind,
        row["table"],
        _short(evidence.get("summary") or "see the check's evidence"),
        row["at"],
        row[ORDER],
        part,
        row["partition"],
        str(version or row["version"]),
        row["check"],
        row["run_id"],
        _short(evidence.get("remedy", "")),
    )


def _part(row: Row) -> str:
    return f"{row['partition']}/{row['check']}"


def _short(text: Any) -> str:
    line = "".join(c if c.isprintable() else "?" for c in " ".join(str(text).split()))
    return line if len(line) <= LONGEST else line[: LONGEST - 4] + " ..."
