"""`make demo`: the whole line on the real year, to predictions served by Triton. It does what is out of date.

Models are built when the year is over: the clock stands at its end. Then the clock goes back to October and
forward with ten flights, and events are pushed up to each request's moment.
"""

import logging
import signal
import sys
import time
import traceback
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import polars as pl

from assets.failures import one_line
from assets.quiet import quiet_exit
from assets.replay import Answered, ask_in_order
from assets.resources import Platform
from assets.runs import materialize
from assets.staleness import out_of_date
from checks.guard import GateClosed
from ml.clock import ReplayClock
from ml.models import model_named
from ml.scoring import score
from ml.settings import Settings
from serving.model_repository import ModelRepository
from serving.plan import Plan
from serving.server import Server

YEAR_END = datetime(2014, 1, 2, tzinfo=UTC)  # the last flight of 2013 has landed
OCTOBER = (datetime(2013, 10, 1, tzinfo=UTC), datetime(2013, 11, 1, tzinfo=UTC))
SPEC = model_named("flight_delay")
EACH = 5  # five flights that came late and five that did not


@dataclass
class Demo:
    """One run of the demo: its parts, and the file that tools' own output goes to."""

    platform: Platform
    definitions: dg.Definitions
    instance: dg.DagsterInstance
    log: Path

    def run(self) -> None:
        """Bring every stage up to date in order, ask for ten flights, print what happened and what to try."""
        started = time.monotonic()
        ReplayClock(self.platform.settings.clock_file).set(YEAR_END)
        self._raw()
        self._stage(("staging", "features"), "dbt on DuckDB: staging, feature tables and tests, the year in one run")
        self._stage(("published",), "write-audit-publish to the offline and online stores; drift checks")
        self._stage(("training_set",), "point-in-time join through Feast, checked")
        self._candidate()
        _say("triton", "one Triton on loopback, models loaded through its control API")
        Server(self.platform.settings).start()
        answers = self._ask()
        self._stage(("predictions",), "the prediction log returns to the lake", always=True)
        self._report(answers, time.monotonic() - started)

    def _keys(self, stages: tuple[str, ...]) -> list[dg.AssetKey]:
        """The assets of the stages: all sources' and features', and of the models' the demo's own."""
        keys = self.definitions.resolve_asset_graph().get_all_asset_keys()
        own = {dg.AssetKey([SPEC.name, stage]) for stage in stages}
        return sorted(key for key in keys if key.path[0] in stages or key in own)

    def _raw(self) -> None:
        """Each month is a run of its own, so that Dagster keeps its check apart."""
        stale = out_of_date(self.definitions, self.platform, self.instance, self._keys(("raw",)))
        if not stale:
            _say("raw", "up to date")
        for key, months in stale.items():
            _say(
                key.to_user_string(),
                "source to Delta, Great Expectations" + (f", {len(months)} months" if months[0] else ""),
            )
            for month in months:
                materialize(self.definitions, self.instance, [key], [month] if month else [], self.log)

    def _stage(self, stages: tuple[str, ...], what: str, always: bool = False) -> None:
        keys = self._keys(stages)
        stale = {key: [""] for key in keys}
        if not always:
            stale = out_of_date(self.definitions, self.platform, self.instance, keys)
        if not stale:
            _say(stages[-1], "up to date")
            return
        _say(stages[-1], what)
        months = sorted({month for found in stale.values() for month in found if month})
        materialize(self.definitions, self.instance, list(stale), months, self.log)

    def _candidate(self) -> None:
        """Train, gate and deploy. A refused candidate leaves the champion where it is."""
        try:
            self._stage(("model",), "train in torch, export one ONNX graph, register in MLflow; promotion gates")
            self._stage(("deployment",), "to Triton, verified by a real inference")
        except Exception as error:
            champion = self.platform.registry.champion(SPEC.name)
            if champion is None or not _refused(error):
                raise
            _say("refused", f"{one_line(error)} -- champion {champion.version} keeps serving")

    def _ask(self) -> list[Answered]:
        """Ten real flights of October, spread over the month, half of them late, each asked at its moment."""
        table = f"{SPEC.name}/training_set"
        asked = pl.col(SPEC.outcome.prediction_time)
        rows = self.platform.lake.read(table).filter((asked >= OCTOBER[0]) & (asked < OCTOBER[1])).collect()
        parts = [rows.filter(pl.col(SPEC.outcome.label) == late) for late in (0, 1)]
        chosen = pl.concat([part[:: part.height // EACH][:EACH] for part in parts])
        _say(
            "requests",
            "ten October flights over gRPC; the clock and the online store move to each one's moment",
        )
        return list(ask_in_order(self.platform, SPEC, chosen))

    def _report(self, answers: list[Answered], seconds: float) -> None:
        registry = self.platform.registry
        champion = registry.champion(SPEC.name)
        if champion is None:
            raise LookupError(f"no champion for {SPEC.name!r}; run make clean and make demo")
        plan = ModelRepository(self.platform.settings.serving_home).history(SPEC.name)[-1]
        rows = pl.DataFrame([a.row for a in answers], infer_schema_length=None)
        offline = score(registry.onnx_path(champion), rows)
        served = [a.prediction.probability for a in answers]
        gap = max(abs(float(a) - b) for a, b in zip(offline, served, strict=True))
        print(_table(answers))
        print(f"Version {champion.version} answered. Served and offline probabilities differ by at most {gap:.1e}.")
        print(_WHERE_NEXT.format(home=self.platform.settings.home, example=_example(answers[-1], plan)))
        print(f"The replayed clock stays at {answers[-1].row[SPEC.outcome.prediction_time]:%Y-%m-%d %H:%M} UTC.")
        auc = champion.metrics["test_roc_auc"]
        print(f"Test ROC AUC {auc:.3f} on October to December, learned from January to September ({seconds:.0f} s).")


def _table(answers: list[Answered]) -> str:
    lines = [
        "",
        f"{'flight':<24}{'asked at (UTC)':<20}{'probability':>12}   {'what happened':<22}{'prediction id'}",
    ]
    for answer in answers:
        row, late = answer.row, answer.row[SPEC.outcome.label]
        lines.append(
            f"{row[SPEC.outcome.row_id]:<24}{row[SPEC.outcome.prediction_time]:%Y-%m-%d %H:%M}    "
            f"{answer.prediction.probability:>11.3f}  "
            f"{'late (30 min +)' if late else 'not late':<18}{answer.prediction.prediction_id}"
        )
    return "\n".join([*lines, ""])


def _example(answer: Answered, plan: Plan) -> str:
    return " ".join(f"{field.name}={answer.row[field.name]}" for field in plan.request)


_WHERE_NEXT = """
Where to look next
  make ui          the Dagster UI on this state: lineage, checks with evidence, runs
  make mlflow      the MLflow page: metrics, provenance, registered versions
  make status      what is served, and whether Triton answers
  {home}/reports   Evidently's drift reports
  ask again        .venv/bin/python -m serving.client flight_delay {example}
  make stop        stop Triton
"""


def _say(stage: str, text: str) -> None:
    print(f"{stage:<26}{text}", flush=True)


def _refused(error: BaseException) -> bool:
    return isinstance(error, GateClosed) or type(error).__name__ == "DagsterAssetCheckFailedError"


def main() -> int:
    """Run the demo. Returns 0, 1 after one line on what failed, 130 when interrupted (nothing stays running)."""
    warnings.simplefilter("ignore")
    logging.getLogger().setLevel(logging.ERROR)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    settings = Settings()
    server = Server(settings)
    was_running = True
    try:
        was_running = server.status().live
        from assets.definitions import definitions_for
        from assets.resources import platform_for

        platform = platform_for(settings)
        log = settings.root / "logs" / "demo.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with dg.DagsterInstance.get() as instance:
            Demo(platform, definitions_for(platform), instance, log).run()
    except KeyboardInterrupt:
        if not was_running:
            server.stop()
        print("\nheadwater: interrupted; nothing is left running that this run started", file=sys.stderr)
        return 130
    except Exception as error:
        print(f"headwater: {one_line(error)}{_traceback(settings, error)}", file=sys.stderr)
        return 1
    return 0


def _traceback(settings: Settings, error: Exception) -> str:
    """Keep the traceback in a file, if the disk takes it, and return where."""
    path = settings.root / "logs" / "demo-error.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(traceback.format_exception(error)))
    except OSError:
        return ""
    return f" (details: {path})"


if __name__ == "__main__":
    quiet_exit()
    sys.exit(main())
