"""A made-up audit trail in a lake of its own, and the clock it lives by."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from checks.alert_trails import Trails
from ml.clock import ReplayClock
from ml.lake import Lake
from ml.loop_log import LoopEvent, LoopLog
from ml.overrides import Override, Overrides
from ml.verdicts import Verdict, Verdicts

BEGIN = datetime(2013, 10, 1, tzinfo=UTC)
PERFORMANCE = "flight_delay/performance"


class Trail:
    """Writes what checks, the loop and people write; `hours` moves the clock on."""

    def __init__(self, home: Path) -> None:
        self.home, self.lake = home, Lake(home / "lake")
        self.clock = ReplayClock(home / "clock.json")
        self.clock.set(BEGIN)

    def hours(self, hours: float) -> None:
        self.clock.set(self.clock.now() + timedelta(hours=hours))

    def judged(self, table="raw/flights", passed=False, version=4, partition="2013-03", check="history", **more):
        evidence = {"summary": "40% fewer rows than the months before", **more.pop("evidence", {})}
        verdict = Verdict(table, version, check, passed, partition, evidence=evidence, run_id="run-1", **more)
        Verdicts(self.lake, self.clock).record([verdict])

    def judged_many(self, tables: int, passed=False):
        verdicts = [
            Verdict(f"raw/table_{n:02}", 1, "history", passed, "2013-03", evidence={"summary": "nothing landed"})
            for n in range(tables)
        ]
        Verdicts(self.lake, self.clock).record(verdicts)

    def window(self, partition: str, passed: bool, check="performance", **more):
        evidence = {"summary": "AUC 0.71", **more}
        self.judged(PERFORMANCE, passed, 1, partition, check, blocking=False, evidence=evidence)

    def happened(self, event, version="", key="", reason="so", **evidence):
        told = LoopEvent("flight_delay", event, key or version, reason, version, evidence, run_id="run-2")
        assert LoopLog(self.lake, self.clock).record(told)

    def overridden(self, hours=72.0, version=4):
        until = self.clock.now() + timedelta(hours=hours)
        override = Override("raw/flights", version, "history", "ada", "a known outage", until, "2013-03")
        Overrides(self.lake, self.clock, allowed=True).grant([override])

    def end_override(self, version=4):
        assert Overrides(self.lake, self.clock, allowed=True).end("raw/flights", version, "2013-03")

    def trails(self) -> Trails:
        return Trails.read(self.lake)
