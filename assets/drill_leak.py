"""`make drill-leak`: a feature that knows the answer, on a scratch copy of the home, and the gate that closes on it.

The aircraft's last arrival becomes the arrival of the flight that is asked about. The home itself is only read.
"""

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cached_property

import dagster as dg
import polars as pl

from assets.drill import PromiseBroken, command, promise, say, scratch, untouched
from assets.features import admitted_raw, dbt_resource, export, feature_gates
from assets.gates import judge
from assets.quiet import leave
from assets.resources import Platform
from assets.runs import materialize
from assets.views import admit_build
from checks.guard import GateClosed
from checks.leakage import CHECK
from checks.required import TRAINING_SET
from ml.clock import ReplayClock
from ml.lake import WHOLE
from ml.models import model_named
from ml.overrides import Override
from ml.sources import SOURCES
from ml.spec import ModelSpec, column_of
from ml.split_windows import Split, Window
from ml.verdicts import TABLE as VERDICTS
from ml.verdicts import Verdict

VIEW = "aircraft_state"
FEATURE = f"{VIEW}:last_arrived_at"
TRUE = "{{ seconds_of('arrived_at') }} as last_arrived_at"
_NEXT = "lead(arrived_at, 1, arrived_at) over (partition by tailnum order by event_timestamp)"
LEAKY = f"{{{{ seconds_of('{_NEXT}') }}}} as last_arrived_at"
MONTHS = ["2013-01", "2013-02", "2013-03"]
AFTERWARDS = datetime(2013, 4, 2, tzinfo=UTC)
ROWS = 40_000  # that each of the two quick models learns from


def _window(first: tuple[int, int], last: tuple[int, int]) -> Window:
    return Window(start=datetime(2013, *first, tzinfo=UTC), end=datetime(2013, *last, tzinfo=UTC))


SPLIT = Split(train=_window((1, 1), (3, 1)), validation=_window((3, 1), (3, 8)), test=_window((3, 8), (4, 1)))
# The other views tell nothing of the leak, and take time.
VIEWS = (VIEW, "origin_congestion", "destination_congestion")
SPEC = model_named("flight_delay").reading_only(VIEWS).model_copy(update={"split": SPLIT})
TABLES = (*SPEC.views, SPEC.outcome.table)
TABLE, MODEL = f"{SPEC.name}/training_set", f"{SPEC.name}/model"


class Drill:
    """One run of the drill in a scratch home, on a copy of the dbt project."""

    def __init__(self, platform: Platform) -> None:
        """Take the scratch home."""
        home = platform.settings.root
        left_out = shutil.ignore_patterns("target", "logs")
        project = shutil.copytree(platform.dbt_project, home / "dbt_project", ignore=left_out)
        settings = platform.settings.model_copy(update={"allow_overrides": True})
        self.platform = replace(platform, dbt_project=project, settings=settings)
        self._true_manifest = platform.manifest.read_bytes()
        sql = project / "models" / "features" / f"{VIEW}.sql"
        self._files = {sql: sql.read_text()}

    def run(self) -> None:
        """Tell the story. Raises PromiseBroken if a part of it does not come true."""
        self._leak()
        self._view_guard()
        self._first_day()
        self._build(TABLES)
        self._overrule()
        self._materialize("published", TABLES)
        say("built", f"{', '.join(TABLES)} are published")
        leaky = self._training_set()
        self._refused(self._verdict(leaky, CHECK))
        self._repair()
        true = self._training_set()
        self._admitted(leaky, true)

    def _leak(self) -> None:
        ((sql, true_sql),) = self._files.items()
        if true_sql.count(TRUE) != 1:
            raise LookupError(f"{sql.name} no longer has {TRUE!r}; bring assets/drill_leak.py up to date")
        sql.write_text(true_sql.replace(TRUE, LEAKY))
        parse = dbt_resource(self.platform).cli(["--quiet", "parse"], target_path=self.platform.settings.dbt_target)
        parse.wait()
        say("the leak", f"{FEATURE} is taken from the next leg: the arrival of the very flight that is asked about")

    def _view_guard(self) -> None:
        try:
            admit_build(self.platform, "drill", [VIEW])
            say("view guard", "no model in use reads the view: its SQL may change")
        except GateClosed as error:
            say("view guard", _beginning(error))
            say("", "so a view in use cannot start to leak; what if it did from the first day?")

    def _first_day(self) -> None:
        """Leave nothing but raw tables and their verdicts."""
        home = self.platform.settings.root
        for path in (*(home / "lake").glob("*/*"), home / "serving", home / "mlflow", home / "warehouse.duckdb"):
            if path.parent.name != "raw" and path.name != "verdicts":
                shutil.rmtree(path, ignore_errors=True)
                path.unlink(missing_ok=True)
        verdicts = self.platform.lake.read(VERDICTS).collect()
        self.platform.lake.replace(VERDICTS, verdicts.filter(pl.col("table").str.starts_with("raw/")))
        ReplayClock(self.platform.settings.clock_file).set(AFTERWARDS)
        say("first day", f"the scratch home has raw tables only, and no model; {MONTHS[0]} to {MONTHS[-1]} are built")

    def _training_set(self) -> int:
        """Make the training set, say what its checks said, and return its version."""
        self._materialize("training_set", go_on=True)
        version = self.platform.lake.version(TABLE)
        for check in TRAINING_SET:
            verdict = self._verdict(version, check)
            say(f"  {check}", f"{'passed' if verdict.passed else 'FAILED'}: {verdict.evidence['summary']}")
        return version

    def _refused(self, verdict: Verdict) -> None:
        promise(not verdict.passed, "the as-of audit refuses the training set ...")
        for name, value in verdict.evidence["first"].items():
            print(f"{'':<20}{name:<22}{value}")
        promise(verdict.evidence["first"]["feature"] == FEATURE, "... and names the feature that leaks")
        try:
            self._materialize("model")
        except GateClosed as error:
            say("training", _beginning(error))
        else:
            raise PromiseBroken("training went ahead on a training set that had failed its check")
        promise(True, "training, started by itself, is refused by the guard")

    def _repair(self) -> None:
        for path, text in self._files.items():
            path.write_text(text)
        self.platform.manifest.write_bytes(self._true_manifest)
        self.__dict__.pop("_definitions", None)
        say("the repair", f"the true {VIEW}, built, published and joined again")
        self._build([VIEW])
        problems = self.platform.guard.problems(f"features/{VIEW}", self._staged())
        promise(not problems, "every check of the view passes" + "".join(f"; {p.reason}" for p in problems[:2]))
        self._materialize("published", [VIEW])

    def _admitted(self, leaky: int, true: int) -> None:
        promise(self._verdict(true, CHECK).passed, "the as-of audit passes")
        (admitted,) = self.platform.guard.admit(MODEL, TABLE).values()
        promise(admitted == true, "training is admitted again")
        high, low = (quick_auc(SPEC, self.platform.lake.read(TABLE, version).collect()) for version in (leaky, true))
        say("ROC AUC", f"{high:.3f} with the leak, {low:.3f} without: gradient boosting, January and February to March")
        least = SPEC.gates.min_score
        promise(
            high > low + 0.1 and high > least, f"a gate on the metric ({least} and better than before) waves it through"
        )

    def _build(self, tables: Sequence[str]) -> None:
        """Build and judge as the feature assets do, less the metadata that they fetch for the UI."""
        raw = admitted_raw(self.platform, SOURCES, tables, MONTHS)
        definitions = admit_build(self.platform, "drill", [VIEW])
        variables = {"start_month": MONTHS[0], "end_month": MONTHS[-1], "raw_versions": raw}
        selected = " ".join(f"+{name}" for name in tables)
        command = ["--quiet", "build", "--select", selected, "--vars", json.dumps(variables)]
        build = dbt_resource(self.platform).cli(command, raise_on_error=False).wait()
        export(self.platform, "drill", build, MONTHS, definitions, raw)
        for name in tables:
            judge(self.platform, f"features/{name}", feature_gates(self.platform.manifest, name), MONTHS, "drill")

    def _staged(self) -> dict[str, int]:
        return self.platform.lake.partition_versions(f"features/{VIEW}", MONTHS)

    def _overrule(self) -> None:
        """The author believes his own feature more than its checks, and says so on record: a gate can be overridden."""
        until = self.platform.clock.now() + timedelta(hours=1)
        problems = self.platform.guard.problems(f"features/{VIEW}", self._staged())
        for check in sorted({problem.check for problem in problems}):
            worst = next(problem for problem in problems if problem.check == check)
            say(f"  {check}", _beginning(worst.reason))
        granted = [
            Override(p.table, p.version, p.check, "the leak's author", "the check is outdated", until, p.partition)
            for p in problems
        ]
        self.platform.overrides.grant(granted)
        say("overridden", f"{len(granted)} verdicts on {VIEW}, by its author, for an hour, on record")

    def _materialize(self, stage: str, tables: Sequence[str] = (), go_on: bool = False) -> None:
        """Materialize a stage of the model, or `tables` of a stage of tables."""
        wanted = [dg.AssetKey([stage, name]) for name in tables] or [dg.AssetKey([SPEC.name, stage])]
        months = MONTHS if tables else []
        with dg.DagsterInstance.ephemeral() as instance:
            log = self.platform.settings.root / "tools.log"
            materialize(self._definitions, instance, wanted, months, log, go_on)

    @cached_property
    def _definitions(self) -> dg.Definitions:
        from assets.definitions import definitions_for

        return definitions_for(self.platform, models=[SPEC])

    def _verdict(self, version: int, check: str) -> Verdict:
        verdict = self.platform.verdicts.newest(TABLE, version, WHOLE, check)
        if verdict is None:
            raise PromiseBroken(f"{check} was not asked about {TABLE} version {version}")
        return verdict


def quick_auc(spec: ModelSpec, rows: pl.DataFrame) -> float:
    """Return the ROC AUC in the test window of gradient boosting that learned from the train window."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score

    asked = pl.col(spec.outcome.prediction_time)
    parts = [rows.filter((asked >= w.start) & (asked < w.end)) for w in (spec.split.train, spec.split.test)]
    train, test = parts[0].sample(min(ROWS, parts[0].height), seed=spec.training.seed), parts[1]
    columns = _numbers(spec, pl.concat([train, test])).to_numpy()
    learned, asked_about = columns[: train.height], columns[train.height :]
    model = HistGradientBoostingClassifier(max_iter=80, random_state=spec.training.seed)
    model.fit(learned, train[spec.outcome.label].to_numpy())
    return float(roc_auc_score(test[spec.outcome.label].to_numpy(), model.predict_proba(asked_about)[:, 1]))


def _numbers(spec: ModelSpec, rows: pl.DataFrame) -> pl.DataFrame:
    """Return what the model's graph sees as numbers: codes for text, minutes between times, the time of day."""
    times = {e.since for e in spec.elapsed} | {f.name for f in spec.request if f.kind in ("time", "local_time")}
    plain = [column_of(name) for name in (*spec.features, *(f.name for f in spec.request)) if name not in times]
    elapsed = [((pl.col(e.until) - pl.col(column_of(e.since))) / 60).alias(e.name) for e in spec.elapsed]
    clock = [(pl.col(f.name) % 86_400).alias(f.name) for f in spec.request if f.kind == "local_time"]
    codes = [pl.col(name).rank("dense") if rows.schema[name] == pl.String else pl.col(name) for name in plain]
    return rows.select(*codes, *elapsed, *clock).cast(pl.Float64)


def _beginning(error: Exception | str, length: int = 240) -> str:
    text = str(error).splitlines()[0]
    return text if len(text) <= length else f"{text[:length]} ..."


def drill(platform: Platform) -> None:
    """Run the drill on a scratch copy of a home. Raises PromiseBroken if anything is not as promised."""
    started = time.monotonic()
    with untouched(platform), scratch(platform) as copy:
        Drill(copy).run()
    say("done", f"{time.monotonic() - started:.0f} s; the scratch home is gone")


if __name__ == "__main__":
    leave(command(drill))
