"""The kinds of alerts: how grave each is, whether it goes on until something ends it, its words, what to do about it.

Here: declarations, and the alert itself. Which audit row is of which kind: `checks/alert_news.py`.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from checks.guard import name_of
from ml import remedies
from ml.alert_settings import Severity
from ml.lake import WHOLE


@dataclass(frozen=True)
class Kind:
    """A kind of alert. One that is `lasting` goes on until a later row of the trail ends it.

    `says` follows the subject; `remedy` may name {asset}, {model}, {partition}, {name} (raw/flights[2013-03]),
    {version}, and {month} (a partition as an argument of make).
    """

    severity: Severity
    says: str
    remedy: str = ""
    lasting: bool = False


_LOOK = "make monitor NAME={model} shows the windows, make drift NAME={model} what moved"
_ANSWERS = "make status shows who answers"

KINDS: dict[str, Kind] = {
    # on data: a blocking check, so whoever reads the table is kept out
    "check_failed": Kind(
        "critical",
        "failed the check {check}",
        "correct the data, materialize {name} again; make quarantine TABLE={asset}{month} shows what is held",
        lasting=True,
    ),
    # on answers: the checks of this name on <model>/performance
    "serving_health": Kind("critical", "does not answer as it should", _ANSWERS, lasting=True),
    "performance": Kind("warning", "answers worse than it did on its held-out rows", _LOOK, lasting=True),
    "calibration": Kind("warning", "no longer knows how often it happens", _LOOK, lasting=True),
    "prediction_drift": Kind("warning", "gives other answers than to its held-out rows", _LOOK, lasting=True),
    "served_drift": Kind("warning", "is asked about other rows than it learned from", _LOOK, lasting=True),
    "novelty": Kind("warning", "is asked about what it hardly learned from", _LOOK, lasting=True),
    # on versions of a model
    "refused": Kind("warning", "was refused", "make mlflow shows the rules it broke (docs/promotion.md)"),
    "reverted": Kind("warning", "was taken back", _ANSWERS),
    "champion": Kind("info", "is champion", 'make rollback NAME={model} WHY="..." goes back'),
    # on the loop
    "retrain": Kind("info", "is trained anew"),
    "held": Kind("warning", "was due for a retraining, which was held"),
    "waiting": Kind("warning", "waits for approval", lasting=True),
    "failed": Kind("critical", "has a step that failed for good", "read the run in the Dagster UI"),
    # on people
    "override": Kind(
        "warning",
        "was let pass by a person",
        "make overrides lists them; python -m assets.override {asset}{flag} --end ends it",
    ),
    "override_ended": Kind("info", "is no longer let pass"),
}

PERFORMANCE = ("performance", "calibration", "prediction_drift", "served_drift", "novelty", "serving_health")


class Key(NamedTuple):
    """What makes two alerts the same: kind, asset, and what else tells it from others of its kind on the asset."""

    kind: str
    asset: str
    part: str


@dataclass(frozen=True)
class Alert:
    """Something that people are told, from one row of an audit trail; `order` is that row's place in it."""

    kind: str
    asset: str
    summary: str
    at: datetime
    order: int
    part: str = ""
    partition: str = WHOLE
    version: str = ""
    check: str = ""
    run_id: str = ""
    hint: str = ""

    @property
    def key(self) -> Key:
        """What makes it the same as an earlier one."""
        return Key(self.kind, self.asset, self.part)

    @property
    def severity(self) -> Severity:
        """How grave it is."""
        return KINDS[self.kind].severity

    @property
    def lasting(self) -> bool:
        """Whether it goes on until something ends it."""
        return KINDS[self.kind].lasting

    @property
    def title(self) -> str:
        """Subject and what is said of it: raw/flights[2013-03] version 4 failed the check history."""
        of = f" version {self.version}" if self.version else ""
        return f"{name_of(self.asset, self.partition)}{of} {KINDS[self.kind].says.format(check=self.check)}"

    @property
    def remedy(self) -> str:
        """What to do, or the next command; empty if there is nothing to do."""
        told = self.hint or KINDS[self.kind].remedy.format(
            asset=self.asset,
            model=self.asset.partition("/")[0],
            version=self.version,
            name=name_of(self.asset, self.partition),
            month=f" MONTH={self.partition}" if self.partition else "",
            flag=f" --partition {self.partition}" if self.partition else "",
        )
        return remedies.here(told)
