"""Stages of the line, brought up to date one after another in this process: the work of `make demo` and `make model`.

Here: what is out of date is run, in order, with a line on each, and how such a command ends. Not here: which stages.
"""

import logging
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from assets.failures import one_line
from assets.instance import open_instance
from assets.resources import Platform
from assets.runs import materialize
from assets.staleness import out_of_date
from checks.guard import GateClosed
from ml.settings import Settings
from serving.fleet import server_for


@dataclass
class Stages:
    """The definitions on one home, and the file that tools' own output goes to."""

    platform: Platform
    definitions: dg.Definitions
    instance: dg.DagsterInstance
    log: Path

    def raw(self) -> None:
        """Land what is out of date. Each month is a run of its own, so that Dagster keeps its check apart."""
        stale = out_of_date(self.definitions, self.platform, self.instance, self._keys(("raw",), ""))
        if not stale:
            say("raw", "up to date")
        for key, months in stale.items():
            say(
                key.to_user_string(),
                "source to Delta, Great Expectations" + (f", {len(months)} months" if months[0] else ""),
            )
            for month in months:
                materialize(self.definitions, self.instance, [key], [month] if month else [], self.log)

    def bring(self, stages: tuple[str, ...], what: str, model: str = "", always: bool = False) -> None:
        """Run what is out of date of the stages of all tables, or of one model; `always`: all of it."""
        keys = self._keys(stages, model)
        stale = {key: [""] for key in keys}
        if not always:
            stale = out_of_date(self.definitions, self.platform, self.instance, keys)
        if not stale:
            say(stages[-1], "up to date")
            return
        say(stages[-1], what)
        months = sorted({month for found in stale.values() for month in found if month})
        materialize(self.definitions, self.instance, list(stale), months, self.log)

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
        self.bring(("training_set",), "point-in-time join through Feast, checked", name)
        try:
            self.bring(("model",), "train in torch, export one ONNX graph, register in MLflow; promotion gates", name)
            self.bring(("deployment",), "to Triton, verified by a real inference", name)
        except Exception as error:
            champion = self.platform.registry.champion(name)
            if champion is None or not _refused(error):
                raise
            say("refused", f"{one_line(error)} -- champion {champion.version} keeps serving")

    def _keys(self, stages: tuple[str, ...], model: str) -> list[dg.AssetKey]:
        keys = self.definitions.resolve_asset_graph().get_all_asset_keys()
        own = {dg.AssetKey([model, stage]) for stage in stages}
        return sorted(key for key in keys if (key in own if model else key.path[0] in stages))


def say(stage: str, text: str) -> None:
    """Tell that a stage begins, or what became of it."""
    print(f"{stage:<26}{text}", flush=True)


def run(name: str, work: Callable[[Stages], None]) -> int:
    """Do the work of the command `name`.

    Returns 0, 1 after one line on what failed, 130 when interrupted (nothing stays running that it started).
    """
    warnings.simplefilter("ignore")
    logging.getLogger().setLevel(logging.ERROR)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
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
        with open_instance(settings) as instance:
            work(Stages(platform, definitions_for(platform), instance, log))
    except KeyboardInterrupt:
        if not was_running:
            server.stop()
        print("\nheadwater: interrupted; nothing is left running that this run started", file=sys.stderr)
        return 130
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
