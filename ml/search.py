"""The search command: `python -m ml.search --model NAME --minutes N`, or `make search`.

Here: the command line of the search and of its workers, messages and the exit status. Trials run in worker
processes (ml/search_crew.py starts them) and are drawn from a study on disk (ml/search_study.py): a search that was
ended, however, goes on when it is run again. Only validation rows judge; rows of the test window are not read.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.process import end_when_asked, end_with_parent, share_cores
from ml.registry_options import add_options, settle

if TYPE_CHECKING:
    import polars as pl

    from ml.folds import Fold
    from ml.recording import Recording
    from ml.search_report import Outcome
    from ml.search_space import SearchSpace
    from ml.search_study import SearchStudy
    from ml.spec import ModelSpec

RESULT_FILE = "best.json"
REPORT_FILE = "report.txt"
SEARCH = "search"

_REPORT_SECONDS = 5.0  # kept of the minutes for what comes after the trials
_SPEC_PARTS = ("task", "outcome", "features", "request", "elapsed", "split", "network", "training")


def main() -> int:
    """Run the command; return its exit status."""
    started = time.monotonic()
    os.environ.setdefault("DO_NOT_TRACK", "true")
    share_cores()
    end_when_asked()
    arguments = _parse(sys.argv[1:])
    try:
        if arguments.worker is None:
            budget = 60 * arguments.minutes
            until = started + budget - min(_REPORT_SECONDS, budget / 10)
            _search(arguments, until, lambda line: print(line, flush=True))
        else:
            end_with_parent()
            _work(arguments)
    except Exception as error:
        if not _expected(error):
            raise
        print(f"search {arguments.model}: {_one_line(error)}", file=sys.stderr, flush=True)
        return 1
    return 0


def _search(arguments: argparse.Namespace, until: float, say: Callable[[str], None]) -> None:
    from ml.models import model_named
    from ml.registry import Registry
    from ml.settings import Settings

    settings = Settings()
    spec = model_named(arguments.model)
    _fill_in(arguments, settings)
    rows, content = _rows_before_test(spec, arguments.training_set, arguments.version)
    # The slow imports come after the checks that fail fast.
    from ml.device import choose_device
    from ml.folds import make_folds
    from ml.search_space import SPACE
    from ml.search_study import only_search, open_study

    choose_device(arguments.device)
    folds, space = make_folds(spec, rows, arguments.folds), SPACE.around(spec)
    registry = Registry(arguments.tracking_uri, arguments.artifacts)
    _ = registry.client
    own = {"tracking_uri": arguments.tracking_uri, "artifacts": str(arguments.artifacts)}
    environment = settings.model_copy(update=own).registry_variables
    folder = arguments.home / "search" / spec.name / _identity(spec, space, arguments.folds, content)
    with only_search(folder) as lock:
        study = open_study(folder, spec.training.seed, arguments.fresh)
        say(f"training set {arguments.training_set} version {arguments.version}: {rows.height:,} rows before the test")
        say(f"study {folder}: {_described(study)}")
        _run(arguments, spec, space, folds, study, registry, lock, until, settings.train_seconds, environment, say)


def _run(
    arguments: argparse.Namespace,
    spec: "ModelSpec",
    space: "SearchSpace",
    folds: tuple["Fold", ...],
    study: "SearchStudy",
    registry: Any,
    lock: int,
    until: float,
    train_seconds: float,
    environment: Mapping[str, str],
    say: Callable[[str], None],
) -> None:
    from ml.search_crew import KILLED, Crew, usable_threads, worker_command
    from ml.search_report import outcome_of, told
    from ml.search_study import REASON
    from ml.search_trial import KIND, STATE

    ended = {STATE: "failed", REASON: KILLED}
    left = study.replace_open_run(None)
    if left is not None:
        registry.end_left_open(spec.name, left, ended)
    study.give_up()
    study.want_as_it_is(space.own(spec))
    tags = {KIND: SEARCH, "study": study.folder, "training_set": arguments.training_set}
    with registry.recording(spec.name, {**tags, "training_set_version": arguments.version}, SEARCH) as run:
        study.replace_open_run(run.run_id)
        run.params({path: json.dumps(entry.model_dump(mode="json")) for path, entry in space.entries.items()})
        words = _worker_words(arguments, study.folder, run.run_id, until)
        crew = Crew(worker_command(words), study, until, lock, say, environment)
        try:
            crew.run(arguments.workers, usable_threads(arguments.workers))
        finally:
            crew.end()
            registry.end_inside(spec.name, run.run_id, ended)
            study.replace_open_run(None)
        outcome = outcome_of(spec, space, folds, study)
        for line in ["", *_kept(outcome, told(outcome, train_seconds), study.folder, run)]:
            say(line)


def _kept(outcome: "Outcome", lines: Sequence[str], folder: Path, run: "Recording") -> list[str]:
    """Write what was found as JSON and as text, in the study's folder and to its run; return the text's lines."""
    result, report = folder / RESULT_FILE, folder / REPORT_FILE
    result.write_text(json.dumps(outcome.as_dict(), indent=2))
    report.write_text("\n".join(lines) + "\n")
    for file in (result, report):
        run.artifact(file)
    return [*lines, f"all of it: {result}"]


def _work(arguments: argparse.Namespace) -> None:
    import torch

    from ml.device import choose_device
    from ml.folds import make_folds
    from ml.models import model_named
    from ml.registry import Registry
    from ml.search_space import SPACE
    from ml.search_study import open_study
    from ml.search_trial import Trials, work
    from ml.settings import Settings

    settle(arguments, Settings())
    told = json.loads(arguments.worker)
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    spec = model_named(arguments.model)
    rows, _ = _rows_before_test(spec, arguments.training_set, arguments.version)
    trials = Trials(
        spec=spec,
        space=SPACE.around(spec),
        folds=make_folds(spec, rows, arguments.folds),
        study=open_study(Path(told["folder"]), os.getpid()),
        registry=Registry(arguments.tracking_uri, arguments.artifacts),
        search=told["search"],
        device=choose_device(arguments.device),
        until=told["until"],
    )
    work(trials, arguments.trials)


def _fill_in(arguments: argparse.Namespace, settings: Any) -> None:
    """Take from the settings what the command line does not say: stores, and the newest training set."""
    from ml.lake import table_at

    arguments.home = arguments.home or settings.root
    settle(arguments, settings)
    if arguments.training_set is None:
        arguments.training_set = f"{settings.lake}/{arguments.model}/training_set"
    if arguments.version is None:
        lake, table = table_at(arguments.training_set)
        arguments.version = lake.version(table)


def _rows_before_test(spec: "ModelSpec", location: str, version: int) -> tuple["pl.DataFrame", str]:
    """Return the training set's rows before the test window, and what identifies the training set."""
    from ml.fingerprint import content_hash
    from ml.folds import before_test
    from ml.lake import table_at

    lake, table = table_at(location)
    rows = lake.read(table, version).filter(before_test(spec)).collect()
    return rows, lake.metadata(table, version).get("content") or content_hash(rows)


def _identity(spec: "ModelSpec", space: "SearchSpace", folds: int, content: str) -> str:
    """Return what a study's trials have in common: only such trials may be compared."""
    from ml.fingerprint import json_hash

    parts = spec.model_dump(mode="json", include=set(_SPEC_PARTS))
    return json_hash([parts, space.model_dump(mode="json"), folds, content])[:12]


def _described(study: "SearchStudy") -> str:
    trials, best = len(study.trials), study.complete[:1]
    if not trials:
        return "new"
    found = f"the best has loss {best[0].value:.5f} (trial {best[0].number})" if best else "none complete"
    return f"{trials} trials are there, {found}; the search goes on"


def _worker_words(arguments: argparse.Namespace, folder: Path, search: str, until: float) -> list[str]:
    told = json.dumps({"folder": str(folder), "search": search, "until": until})
    words = ["--model", arguments.model, "--training-set", arguments.training_set, "--version", arguments.version]
    words += ["--device", arguments.device, "--folds", arguments.folds, "--minutes", arguments.minutes]
    words += [] if arguments.trials is None else ["--trials", arguments.trials]
    return [str(word) for word in [*words, "--worker", told, "--number"]]


def _expected(error: Exception) -> bool:
    """Whether an error is about the input, the machine or a store, and not a bug."""
    if isinstance(error, KeyError | IndexError):
        return False
    ours = isinstance(error, LookupError | ValueError | ArithmeticError | OSError | RuntimeError | MemoryError)
    return ours or type(error).__module__.partition(".")[0] in ("mlflow", "optuna", "sqlalchemy", "sqlite3")


def _one_line(error: BaseException) -> str:
    if type(error).__name__ == "StorageInternalError" and error.__cause__ is not None:
        error = error.__cause__  # Optuna itself does not say what the database said
    text = str(error).partition("\n[SQL")[0]  # SQLAlchemy goes on with the statement
    text = " ".join(text.split()) or type(error).__name__
    full = "is full" in text or "No space left" in text
    return f"{text}; make room on the disk and run again: the search goes on" if full else text


def _positive(kind: type[int] | type[float]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        value = kind(text)
        if not 0 < value < float("inf"):
            raise argparse.ArgumentTypeError(f"{text} is not above 0")
        return value

    read.__name__ = "number"  # argparse names it in its message
    return read


def _parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m ml.search",
        description="Search better network and training settings of a model, judged on validation rows only.",
    )
    parser.add_argument("--model", required=True, help="name of a ModelSpec in ml/models")
    parser.add_argument("--training-set", help="location of the Delta table (default: the model's in the lake)")
    parser.add_argument("--version", type=int, help="version of that table (default: the newest)")
    parser.add_argument("--minutes", type=_positive(float), default=10.0, help="when to have ended (default: 10)")
    parser.add_argument("--workers", type=_positive(int), default=1, help="processes that share the cores (default: 1)")
    parser.add_argument("--trials", type=_positive(int), help="most trials to begin (default: as many as fit)")
    parser.add_argument("--folds", type=_positive(int), default=1, help="validation windows in time order (default: 1)")
    parser.add_argument("--fresh", action="store_true", help="begin anew; the study so far is put aside")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    add_options(parser)
    parser.add_argument("--home", type=Path, help="folder that holds the studies (default: the home)")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--number", help=argparse.SUPPRESS)
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
