"""The training command: `python -m ml.train`, alone, under Dagster Pipes, or in a pod.

Here: the command line, the messages and the exit status. The work is in ml/candidate.py. It ends with
its parent and when asked; an expected failure is one line on stderr and status 1, or 75 (as sysexits.h has it: try
again) if another process was lost.
"""

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.process import end_when_asked, end_with_parent, share_cores
from ml.registry_options import add_options, settle
from ml.settings import Settings
from ml.trained_spec import AS_OF, trained_spec

if TYPE_CHECKING:
    import polars as pl

    from ml.candidate import Candidate
    from ml.running import Running
    from ml.world import World

RESULT_FILE = "result.json"
LOST_STATUS = os.EX_TEMPFAIL

_PIPES_VARIABLE = "DAGSTER_PIPES_CONTEXT"


@dataclass(frozen=True)
class Channel:
    """Where progress lines and the final result go."""

    say: Callable[[str], None]
    finish: Callable[["Candidate"], None]


def main() -> int:
    """Run the command; return its exit status."""
    os.environ.setdefault("DO_NOT_TRACK", "true")
    share_cores()
    end_when_asked()
    end_with_parent()
    arguments = _parse(sys.argv[1:])
    rank = int(os.environ.get("RANK", "0"))  # torchrun's
    with _channel(rank) as channel:
        try:
            candidate = _train(arguments, channel.say)
        except (LookupError, ValueError, FloatingPointError, OSError) as error:
            if isinstance(error, KeyError | IndexError):
                raise
            print(f"training {arguments.model}: {_one_line(error)}", file=sys.stderr, flush=True)
            return LOST_STATUS if isinstance(error, ConnectionError) else 1
        if candidate is not None:
            (arguments.out / RESULT_FILE).write_text(json.dumps(candidate.as_dict(), indent=2))
            channel.finish(candidate)
    return 0


def _train(arguments: argparse.Namespace, say: Callable[[str], None]) -> "Candidate | None":
    """Return the registered candidate; None in a process that only helps the leading one."""
    from ml.models import model_named

    settle(arguments, Settings())
    spec = model_named(arguments.model)
    rows, count, recorded = _training_set(arguments.training_set, arguments.version)
    spec, refit = trained_spec(spec, recorded), bool(recorded.get(AS_OF)) and spec.retraining.refit
    say(f"training set {arguments.training_set} version {arguments.version}: {count:,} rows")
    # The slow imports come after the checks that fail fast.
    from ml.candidate import assist, make_candidate
    from ml.device import choose_device
    from ml.model_version import RECIPE
    from ml.registry import Registry
    from ml.world import joined

    arguments.out.mkdir(parents=True, exist_ok=True)
    device, provenance = choose_device(arguments.device), _provenance(arguments, recorded, rows)
    provenance |= {RECIPE: spec.recipe, AS_OF: recorded.get(AS_OF)}
    with joined(device.type == "cuda", arguments.wait_seconds) as world:
        running = _running(arguments, provenance["training_set_hash"], world, say)
        if not world.leads:
            assist(spec, rows, device, running, refit)
            return None
        registry = Registry(arguments.tracking_uri, arguments.artifacts)
        return make_candidate(spec, rows, registry, provenance, device, arguments.out, say, running, refit)


def _running(
    arguments: argparse.Namespace, content: str | None, world: "World", say: Callable[[str], None]
) -> "Running":
    from ml.running import Running

    return Running(
        max_seconds=arguments.max_seconds,
        checkpoint=arguments.checkpoint or arguments.out / "checkpoint",
        checkpoint_seconds=arguments.checkpoint_seconds,
        training_set=f"{content or arguments.training_set} version {arguments.version}",
        memory_mb=arguments.memory_mb,
        work=(arguments.checkpoint or arguments.out / "checkpoint") / "rows",
        world=world,
        say=say,
    )


def _training_set(location: str, version: int) -> tuple["pl.LazyFrame", int, dict[str, Any]]:
    import polars as pl

    from ml.lake import table_at

    lake, table = table_at(location)
    rows = lake.read(table, version)
    return rows, int(rows.select(pl.len()).collect().item()), lake.metadata(table, version)


def _provenance(arguments: argparse.Namespace, recorded: Mapping[str, Any], rows: "pl.LazyFrame") -> dict[str, Any]:
    """Return what run and version bear as tags: where data, code and packages came from."""
    from ml.fingerprint import content_hash
    from ml.model_version import TRAINING_SET_VERSION
    from ml.provenance import git_commit, lock_hash, versions
    from ml.run_facts import origin

    commit, given = git_commit(), arguments.provenance or recorded
    return {
        "training_set": arguments.training_set,
        TRAINING_SET_VERSION: arguments.version,
        "training_set_hash": arguments.training_set_hash or recorded.get("content") or content_hash(rows.collect()),
        "training_set_provenance": json.dumps(given, default=str),
        **origin(given),
        "git_commit": commit["commit"],
        "git_dirty": commit["dirty"],
        "lock_hash": lock_hash(),
        **versions(),
    }


@contextmanager
def _channel(rank: int) -> Iterator[Channel]:
    """Open Dagster Pipes if Dagster started this process, else print; of several processes the leading one talks."""
    if rank > 0:
        yield Channel(lambda line: None, lambda candidate: None)
        return
    if _PIPES_VARIABLE not in os.environ:
        yield Channel(lambda line: print(line, flush=True), lambda candidate: None)
        return
    from dagster_pipes import open_dagster_pipes

    with open_dagster_pipes() as pipes:
        logging.getLogger("dagster_pipes").setLevel(logging.INFO)

        def finish(candidate: "Candidate") -> None:
            pipes.report_asset_materialization(metadata=_metadata(candidate), data_version=candidate.version)

        yield Channel(pipes.log.info, finish)


def _metadata(candidate: "Candidate") -> dict[str, Any]:
    named = {key.replace("_", " "): value for key, value in candidate.as_dict().items()}
    card = {"raw_value": candidate.card.inline, "type": "md"}
    return {**named, "onnx": {"raw_value": candidate.onnx, "type": "path"}, "model card": card}


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ml.train", description="Train and register a model.")
    parser.add_argument("--model", required=True, help="name of a ModelSpec in ml/models")
    parser.add_argument("--training-set", required=True, help="location of the training set's Delta table")
    parser.add_argument("--version", required=True, type=int, help="version of that table")
    parser.add_argument("--training-set-hash", help="its content hash (default: as recorded with the version)")
    parser.add_argument("--provenance", type=json.loads, default={}, help="JSON kept with the model")
    add_options(parser)
    parser.add_argument("--out", required=True, type=Path, help="folder for working files and result.json")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--max-seconds", type=float, default=3600.0, help="bound on the fitting time of all tries")
    parser.add_argument("--checkpoint", type=Path, help="folder of the unfinished state (default: checkpoint in --out)")
    parser.add_argument("--checkpoint-seconds", type=float, default=30.0, help="between checkpoints within an epoch")
    parser.add_argument("--memory-mb", type=float, help="MiB for encoded training rows (default: what is free)")
    parser.add_argument("--wait-seconds", type=float, default=600.0, help="how long a process waits for another one")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
