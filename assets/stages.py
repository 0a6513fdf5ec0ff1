"""Stages of the line, brought up to date one after another in this process, for `make demo`, `model` and `table`.

Here: what is out of date is run, in order, with a line on each, and how such a command ends. Not here: which stages.
"""

import sys
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from assets.alike import alike
from assets.command import interruptible
from assets.event_log import kept_open
from assets.failures import one_line
from assets.instance import open_instance
from assets.resources import Platform
from assets.runs import materialize
from assets.staleness import Stale, out_of_date
from checks.guard import GateClosed
from ml.dbt_lineage import Tables, problem_of
from ml.models import model_named
from ml.months import end_of
from ml.settings import Settings
from serving.fleet import server_for

STAGES = ("raw", "staging", "features", "published")


@dataclass
class Stages:
    """The definitions on one home, and the file that tools' own output goes to."""

    platform: Platform
    definitions: dg.Definitions
    instance: dg.DagsterInstance
    log: Path

    def tables(self, model: str) -> None:
        """Land, build and publish what is out of date of all tables that are made from the sources of a model's.

        Months that are not over by the platform's clock wait for it. Raises LookupError if none is.
        """
        spec = model_named(model)
        self._line(problem_of(self.platform.manifest, [spec.outcome.table, *spec.views]))

    def table(self, tables: Tables, months: Mapping[str, Collection[str]]) -> None:
        """Land `tables.raw`, build, check and publish `tables.made`, as far as they are out of date.

        Of a table that `months` names, only these. Raises LookupError as `tables` does.
        """
        self._line(tables, months)

    def _line(self, tables: Tables, months: Mapping[str, Collection[str]] | None = None) -> None:
        keys = self.definitions.resolve_asset_graph().get_all_asset_keys()
        of = {name: sorted(key for key in keys if key.path[0] == name) for name in STAGES}
        raw = [key for key in of["raw"] if key.path[-1] in tables.raw]
        self._require_months(raw)
        self._land(self._stale(raw, months))
        if not tables.made:
            return
        built = [key for name in ("staging", "features") for key in of[name] if key.path[-1] in tables.made]
        self._run(self._stale(built, months), "features", "dbt: staging, feature tables and tests, in one run")
        published = [key for key in of["published"] if key.path[-1] in tables.made]
        if published:
            what = "write-audit-publish to the offline and online stores; drift checks"
            self._run(self._stale(published, months), "published", what)

    def _land(self, stale: Stale) -> None:
        """Land what is out of date. Each month is a run of its own, so that Dagster keeps its check apart."""
        if not stale:
            say("raw", "up to date")
        for key, months in stale.items():
            say(
                key.to_user_string(),
                "source to Delta, Great Expectations" + (f", {len(months)} months" if months[0] else ""),
            )
            for month in months:
                materialize(self.definitions, self.instance, [key], [month] if month else [], self.log)

    def bring(self, stage: str, what: str, model: str, always: bool = False) -> None:
        """Run a stage of one model if it is out of date; `always`: in any case."""
        key = dg.AssetKey([model, stage])
        self._run({key: [""]} if always else self._stale([key]), stage, what)

    def _run(self, stale: Stale, stage: str, what: str) -> None:
        if not stale:
            say(stage, "up to date")
            return
        say(stage, what)
        for months, group in self._alike(stale):
            materialize(self.definitions, self.instance, group, months, self.log)

    def months(self, key: dg.AssetKey, months: Sequence[str], what: str) -> None:
        """Run what is out of date of an asset's months, each in a run of its own."""
        stale = out_of_date(self.definitions, self.platform, self.instance, [key]).get(key, [])
        wanted = [month for month in months if month in stale]
        if not wanted:
            say(key.to_user_string(), "up to date")
            return
        say(key.to_user_string(), what)
        for month in wanted:
            materialize(self.definitions, self.instance, [key], [month], self.log)

    def model(self, name: str) -> None:
        """Join, train, gate and deploy a model. A refused candidate leaves the champion where it is.

        Raises what refused it where there is no champion.
        """
        self.bring("training_set", "point-in-time join through Feast, checked", name)
        try:
            self.bring("model", "train in torch, export one ONNX graph, register in MLflow; promotion gates", name)
            self.bring("deployment", "to Triton, verified by a real inference", name)
        except Exception as error:
            champion = self.platform.registry.champion(name)
            if champion is None or not _refused(error):
                raise
            say("refused", f"{one_line(error)} -- champion {champion.version} keeps serving")

    def _stale(self, keys: Sequence[dg.AssetKey], wanted: Mapping[str, Collection[str]] | None = None) -> Stale:
        """Return what is out of date, without the months that are not over by the clock or that nobody wants."""
        stale, now = out_of_date(self.definitions, self.platform, self.instance, keys), self.platform.clock.now()
        left = {
            key: [
                month
                for month in months
                if not month or (end_of(month) <= now and month in (wanted or {}).get(key.path[-1], months))
            ]
            for key, months in stale.items()
        }
        return {key: months for key, months in left.items() if months}

    def _alike(self, stale: Stale) -> Iterator[tuple[list[str], list[dg.AssetKey]]]:
        """Yield keys with the same partitions, and their months, in an order in which they can be made."""
        graph = self.definitions.resolve_asset_graph()
        defined = {key: graph.get(key).partitions_def for key in graph.toposorted_asset_keys if key in stale}
        kinds = {key: tuple(found.get_partition_keys()) if found else () for key, found in defined.items()}
        for group in alike(kinds, {key: graph.get_ancestor_asset_keys(key) for key in kinds}):
            yield sorted({month for key in group for month in stale[key] if month}), group

    def _require_months(self, keys: Sequence[dg.AssetKey]) -> None:
        """Raise LookupError if no month of the tables with months is over by the platform's clock."""
        graph, now = self.definitions.resolve_asset_graph(), self.platform.clock.now()
        found = [(key, graph.get(key).partitions_def) for key in keys]
        months = [month for _, partitions in found if partitions for month in partitions.get_partition_keys()]
        if any(partitions for _, partitions in found) and not any(end_of(month) <= now for month in months):
            tables = ", ".join("/".join(key.path) for key, partitions in found if partitions)
            raise LookupError(
                f"no month of {tables} is over by the platform's clock, which stands at {now:%Y-%m-%d %H:%M} UTC; "
                "give this problem a home of its own (HEADWATER_HOME)"
            )


def say(stage: str, text: str) -> None:
    """Tell that a stage begins, or what became of it."""
    print(f"{stage:<26}{text}", flush=True)


@interruptible("nothing is left running that this run started")
def run(name: str, work: Callable[[Stages], None]) -> int:
    """Do the work of the command `name`.

    Returns 0, 1 after one line on what failed, 130 when interrupted (nothing stays running that it started).
    """
    settings = Settings()
    server = server_for(settings)
    was_running = True
    try:
        was_running = bool(settings.triton_replicas) or server.status().live
        from assets.definitions import definitions_for
        from assets.resources import platform_for

        platform = platform_for(settings)
        log = settings.root / "logs" / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with open_instance(settings) as instance, kept_open(instance):
            work(Stages(platform, definitions_for(platform), instance, log))
    except KeyboardInterrupt:
        if not was_running:
            server.stop()
        raise
    except Exception as error:
        print(f"headwater: {one_line(error)}{_traceback(settings, name, error)}", file=sys.stderr)
        return 1
    return 0


def _refused(error: BaseException) -> bool:
    return isinstance(error, GateClosed) or type(error).__name__ == "DagsterAssetCheckFailedError"


def _traceback(settings: Settings, name: str, error: Exception) -> str:
    """Keep the traceback in a file, if the disk takes it, and return where."""
    path = settings.root / "logs" / f"{name}-error.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(traceback.format_exception(error)))
    except OSError:
        return ""
    return f" (details: {path})"
