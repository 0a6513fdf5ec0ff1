"""One side of `make model-ci`: a script that runs with the code of that side on its path, be it the base's or ours.

It may lie in another tree than the code that it runs, so it names only interfaces that stay: the specs, the
definitions and runs of assets, split, fit, export and score. The driver is assets/model_ci.py; nobody imports this.
"""

import argparse
import json
import logging
import os
import subprocess
import sys
import traceback
import warnings
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from assets.resources import Platform
    from ml.spec import ModelSpec

FAILURE = "failure.txt"
SPECS, WORLD, ROWS, RESULT = "specs.json", "world.json", "rows.json", "result.json"
ROWS_FILE, SAMPLE_FILE, PREDICTIONS_FILE, ONNX_FILE = "rows.parquet", "sample.parquet", "predictions.parquet", "{}.onnx"

_SETTLED = timedelta(days=2)  # after a month's end its last flights have landed
_PROVED_ROWS = 500
_SAMPLE_ROWS = 256


def specs(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return every model's spec, by name."""
    from ml.models import MODELS

    return {spec.name: spec.model_dump(mode="json") for spec in MODELS}


def world(arguments: argparse.Namespace) -> dict[str, Any]:
    """Land the months, build their features and publish them, in the empty home that the settings name."""
    _parse_dbt()
    import dagster as dg

    from assets.resources import Platform
    from ml.clock import ReplayClock
    from ml.settings import Settings
    from ml.sources import SOURCES

    platform = Platform(Settings())
    months = arguments.months
    ReplayClock(platform.settings.clock_file).set(datetime.fromisoformat(arguments.until) + _SETTLED)
    landed = _look_back(platform, months)
    say(f"landing {len(landed)} months from {landed[0]}")
    with dg.DagsterInstance.ephemeral() as instance:
        line = _Line(platform, instance, _some(arguments.models))
        for index, month in enumerate(landed):
            due = [
                s for s in SOURCES if (index == 0 if s.partition is None or s.months is None else s.months.has(month))
            ]
            line.run([dg.AssetKey(["raw", source.name]) for source in due], [month])
        say(f"features of {months[0]} to {months[-1]}")
        line.run(line.keys(months[0], "staging", "features"), months)
        say("publishing")
        line.run(line.keys(months[0], "published"), months)
    return {"raw": _raw_contents(platform), "months": months, "landed": landed}


def rows(arguments: argparse.Namespace) -> dict[str, Any]:
    """Make and check the models' training sets in a home whose tables are published; keep their rows as files."""
    import dagster as dg

    from assets.resources import Platform
    from ml.lake import WHOLE
    from ml.settings import Settings

    platform = Platform(Settings())
    found = {}
    with dg.DagsterInstance.ephemeral() as instance:
        models = _some(arguments.models, arguments.split)
        line = _Line(platform, instance, models)
        for spec in models:
            say(f"training set of {spec.name}")
            line.run([dg.AssetKey([spec.name, "training_set"])], [], go_on=True)
            table = f"{spec.name}/training_set"
            version = platform.lake.version(table)
            frame = platform.lake.read(table, version).collect()
            folder = arguments.out / spec.name
            folder.mkdir(parents=True)
            frame.write_parquet(folder / ROWS_FILE)
            gates = {}
            for number, partition, check in platform.verdicts.newest_of(table):
                verdict = platform.verdicts.newest(table, version, WHOLE, check)
                if verdict is not None and (number, partition) == (version, WHOLE):
                    gates[check] = {"passed": verdict.passed, "summary": verdict.evidence.get("summary", "")}
            metadata = platform.lake.metadata(table, version)
            found[spec.name] = {"rows": frame.height, "gates": gates, **_some_of(metadata, "content", "sources")}
            (folder / ROWS).write_text(json.dumps(found[spec.name], indent=2))
    return found


def train(arguments: argparse.Namespace) -> dict[str, Any]:
    """Fit a model once a seed on the rows of a training set; keep graphs, held-out answers and metrics as files."""
    import polars as pl

    from ml.provenance import git_commit, lock_hash
    from ml.split import split_rows
    from ml.task import task_of

    (spec,) = _some([arguments.model], arguments.split)
    parts = split_rows(spec, pl.read_parquet(arguments.rows))
    task, outcome = task_of(spec), spec.outcome
    chosen = [pl.col(outcome.row_id).alias("row_id"), pl.col(outcome.prediction_time).alias("prediction_time")]
    held_out = parts.test.select(*chosen, pl.col(outcome.label).alias("label"))
    seeds = {}
    for seed in range(spec.training.seed, spec.training.seed + arguments.seeds):
        answers, seeds[str(seed)] = _fitted(spec, parts, seed, arguments)
        held_out = held_out.with_columns(pl.Series(str(seed), answers, dtype=pl.Float64))
    held_out.write_parquet(arguments.out / PREDICTIONS_FILE)
    parts.test.head(_SAMPLE_ROWS).write_parquet(arguments.out / SAMPLE_FILE)
    return {
        "model": spec.name,
        "task": spec.task,
        "label": outcome.label,
        "score": task.score,
        "score_title": task.score_title,
        "parts": {name: getattr(parts, name).height for name in ("train", "validation", "test")},
        "seeds": seeds,
        "provenance": {**git_commit(), "lock": lock_hash()},
    }


def _fitted(spec: "ModelSpec", parts: Any, seed: int, arguments: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """Return the ONNX graph's answers [test rows] after training with a seed, and what was measured."""
    from ml.device import choose_device
    from ml.export import export, verify
    from ml.scoring import score
    from ml.task import task_of
    from ml.training import fit

    seeded = spec.model_copy(update={"training": spec.training.model_copy(update={"seed": seed})})
    model = fit(seeded, parts.train, parts.validation, choose_device("auto"), max_seconds=arguments.max_seconds)
    onnx = arguments.out / ONNX_FILE.format(seed)
    export(model, onnx)
    difference = verify(model, onnx, parts.test.head(_PROVED_ROWS))
    task, label = task_of(spec), spec.outcome.label
    answers, checked = score(onnx, parts.test), score(onnx, parts.validation)
    test, validation = task.evaluate(parts.test[label], answers), task.evaluate(parts.validation[label], checked)
    say(
        f"{spec.name} seed {seed}: {model.seconds:.0f} s, ended by {model.stopped_by}, "
        f"test {task.score_title} {test.score:.4f}"
    )
    return answers, {
        **validation.as_dict("validation_"),
        **test.as_dict("test_"),
        "fit_seconds": model.seconds,
        "stopped_by": model.stopped_by,
        "epochs": len(model.epochs),
        "onnx": onnx.name,
        "onnx_difference": difference,
    }


class _Line:
    """Runs of assets in one home, of some models only."""

    def __init__(self, platform: "Platform", instance: Any, models: "list[ModelSpec]") -> None:
        from assets.definitions import definitions_for

        self._instance, self._log = instance, platform.settings.root / "tools.log"
        self._definitions = definitions_for(platform, models=models)

    def keys(self, month: str, *stages: str) -> list[Any]:
        """Return the assets of these stages that have the month."""
        graph = self._definitions.resolve_asset_graph()
        keys = sorted(key for key in graph.get_all_asset_keys() if key.path[0] in stages)
        found = [(key, graph.get(key).partitions_def) for key in keys]
        return [key for key, partitions in found if partitions is None or month in partitions.get_partition_keys()]

    def run(self, keys: list[Any], months: list[str], go_on: bool = False) -> None:
        from assets.runs import materialize

        materialize(self._definitions, self._instance, keys, months, self._log, go_on)


def _parse_dbt() -> None:
    """Make dbt's manifest, which `make setup` makes of a home."""
    from assets.resources import DBT_PROJECT
    from ml.settings import Settings

    settings = Settings()
    settings.dbt_target.mkdir(parents=True, exist_ok=True)
    # HEADWATER_LAKE is how a base's project may still call it.
    places = dict.fromkeys(("HEADWATER_DBT_LAKE", "HEADWATER_LAKE"), str(settings.lake))
    places["HEADWATER_WAREHOUSE"] = str(settings.warehouse)
    flags = {"--project-dir": DBT_PROJECT, "--profiles-dir": DBT_PROJECT}
    flags |= {"--target-path": settings.dbt_target, "--log-path": settings.dbt_target}
    words = [str(Path(sys.executable).parent / "dbt"), "--quiet", "parse"]
    words += [str(word) for flag in flags.items() for word in flag]
    done = subprocess.run(words, env={**os.environ, **places}, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"dbt cannot read its project: {(done.stdout + done.stderr).strip()[-500:]}")


def _look_back(platform: "Platform", months: list[str]) -> list[str]:
    """Return the months and those before them that features read, as far as there are any."""
    from checks.suite import feature_tables
    from ml.look_back import raw_read
    from ml.months import union_of
    from ml.sources import SOURCES

    span = union_of(source.months for source in SOURCES if source.months is not None and source.months.has(months[0]))
    return span.with_look_back(months, max(raw_read(platform.manifest, feature_tables(platform.manifest)).values()))


def _raw_contents(platform: "Platform") -> dict[str, str]:
    """Return the content hash of each landed month, by table and month."""
    found: dict[str, str] = {}
    for table in platform.lake.tables():
        for commit in reversed(platform.lake.history(table)) if table.startswith("raw/") else ():
            found |= {f"{table} {part}".strip(): commit["metadata"].get("content") for part in commit["partitions"]}
    return found


def _some(names: Iterable[str], split: dict[str, Any] | None = None) -> "list[ModelSpec]":
    from ml.models import MODELS

    found = [spec for spec in MODELS if spec.name in set(names)]
    return found if split is None else [_cut(spec, split) for spec in found]


def _cut(spec: "ModelSpec", split: dict[str, Any]) -> "ModelSpec":
    return spec.model_copy(update={"split": type(spec.split).model_validate(split)})


def _some_of(metadata: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: metadata.get(name) for name in names}


def say(text: str) -> None:
    """Tell the driver what is being done."""
    print(text, flush=True)


STEPS = {"specs": (specs, SPECS), "world": (world, WORLD), "rows": (rows, None), "train": (train, RESULT)}


def main() -> int:
    """Run one step. Its result, or the reason why there is none, is a file in the folder `--out`."""
    arguments = _parse(sys.argv[1:])
    warnings.simplefilter("ignore")
    logging.getLogger().setLevel(logging.ERROR)
    step, file = STEPS[arguments.step]
    try:
        from assets.failures import one_line
        from assets.quiet import quiet_exit
        from ml.process import end_when_asked, end_with_parent, share_cores

        quiet_exit()
        share_cores()
        end_when_asked()
        end_with_parent()
        found = step(arguments)
    except (ImportError, AttributeError) as error:
        traceback.print_exc()
        return _failed(arguments, f"model CI cannot run this side's code ({error}); a base must be new enough for it")
    except Exception as error:
        traceback.print_exc()
        return _failed(arguments, one_line(error))
    if file:
        (arguments.out / file).write_text(json.dumps(found, indent=2, default=str))
    return 0


def _failed(arguments: argparse.Namespace, reason: str) -> int:
    (arguments.out / FAILURE).write_text(reason)
    return 1


def _parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="model_ci_side.py", description="One step of one side of make model-ci.")
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--months", nargs="+")
    parser.add_argument("--until", help="end of the window, an instant")
    parser.add_argument("--models", nargs="+")
    parser.add_argument("--model")
    parser.add_argument("--rows", type=Path)
    parser.add_argument("--split", type=json.loads)
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--max-seconds", type=float)
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
