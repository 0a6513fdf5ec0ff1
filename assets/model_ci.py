"""`make model-ci`: does a change make models better or worse? Both sides train on a small window and are compared.

Here: the command line, the order of steps, the exit status. The change is the working tree as it lies there, the
base a commit. docs/model-ci.md says how to read it.
"""

import argparse
import json
import logging
import signal
import sys
import time
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock

from assets.failures import one_line
from assets.model_ci_cache import Cache
from assets.model_ci_report import Report
from assets.model_ci_sides import Processes, Side
from assets.model_ci_trees import LOCK, changed_files, checked_out, described, git, resolve
from assets.model_ci_verdict import Finding, judge
from assets.model_ci_work import Half, Task, Work, trained_by
from assets.quiet import quiet_exit
from ml.provenance import ROOT
from ml.settings import Settings
from ml.spec import Split, Window

WORSE, ERROR, INTERRUPTED = 1, 2, 130
_PARTS = (6 / 12, 8 / 12)  # of the window: where validation and where test begin
_EXAMPLE = "2013-01..2013-03"
_LOUD = Lock()
_STARTED = time.monotonic()


def months_between(window: str | None) -> tuple[str, ...]:
    """Return the months of a window such as 2013-01..2013-03, ends included; None: the first three that there are.

    Raises LookupError if it is not a span of months that tables have.
    """
    from assets.partitions import MONTHS

    known = list(MONTHS.get_partition_keys())
    first, _, last = (window or f"{known[0]}..{known[2]}").partition("..")
    last = last or first
    if first not in known or last not in known or first > last:
        raise LookupError(f"window {window!r} is no span of months from {known[0]} to {known[-1]}, such as {_EXAMPLE}")
    return tuple(known[known.index(first) : known.index(last) + 1])


def split_of(months: Sequence[str]) -> tuple[Split, datetime]:
    """Cut the months into train, validation and test in time order, 6 to 2 to 4, at midnights (UTC).

    Also returns the end of the window. Of January to March: to mid-February, to the end of February, March.
    """
    start = datetime.strptime(months[0], "%Y-%m").replace(tzinfo=UTC)
    end = (datetime.strptime(months[-1], "%Y-%m").replace(tzinfo=UTC) + timedelta(days=31)).replace(day=1)
    cuts = [start + timedelta(days=round((end - start).days * part)) for part in _PARTS]
    train, validation, test = zip([start, *cuts], [*cuts, end], strict=True)
    windows = [Window(start=a, end=b) for a, b in (train, validation, test)]
    return Split(train=windows[0], validation=windows[1], test=windows[2]), end


def compare(arguments: argparse.Namespace, settings: Settings) -> Report:
    """Compare the working tree with the base. Raises LookupError, SideFailed or ValueError with the reason."""
    months = months_between(arguments.window)
    split, until = split_of(months)
    task = Task(months, until, split, arguments.seeds, settings.train_seconds)
    commit = resolve(arguments.base)
    cache = Cache(settings.root / "model-ci")
    say("base", described(commit))
    with checked_out(commit) as tree, cache.work() as folder, Processes(say) as processes:
        logs = cache.root / "logs"
        base = Half(Side("base", tree, processes, logs), task, kept=not arguments.fresh)
        change = Half(Side("change", ROOT, processes, logs), task, kept=False)
        changed = changed_files(tree)
        work = Work(cache, folder)
        work.read_specs([base, change])
        models = chosen(arguments.models, arguments.all or bool(changed), base, change)
        say("models", ", ".join(models) or "none: nothing that a model is made by has changed")
        findings = _findings(work, base, change, models) if models else []
        return Report(
            base=described(commit),
            change=_change(),
            window=f"{months[0]}..{months[-1]}",
            cut=task.cut,
            seeds=task.seeds,
            changed=changed,
            findings=findings,
            notes=_notes(base, change),
            seconds=time.monotonic() - _STARTED,
        )


def chosen(asked: Sequence[str], all_of_them: bool, base: Half, change: Half) -> list[str]:
    """Return the models to train: those asked for, or all, or those whose own spec differs between the sides.

    Raises LookupError that names a model which neither side has.
    """
    known = sorted({*base.specs, *change.specs})
    strangers = sorted(set(asked) - set(known))
    if strangers:
        raise LookupError(f"no model {', '.join(strangers)} on either side; they have {', '.join(known)}")
    if asked or all_of_them:
        return [name for name in known if not asked or name in asked]
    return [name for name in known if trained_by(base.specs.get(name)) != trained_by(change.specs.get(name))]


def _findings(work: Work, base: Half, change: Half, models: Sequence[str]) -> list[Finding]:
    halves = [half for half in (base, change) if set(models) & set(half.specs)]
    work.build_worlds(halves)
    work.join_rows(halves, models)
    for name in models:
        for half in halves:
            if name in half.specs:
                work.train(half, name)
    return [judge(name, base, change) for name in models]


def _change() -> str:
    dirty = " with uncommitted changes" if git("status", "--porcelain") else ""
    return f"`{described('HEAD')}`{dirty}"


def _notes(base: Half, change: Half) -> list[str]:
    notes = [f"The {half.side.name} used {reused}." for half in (base, change) for reused in half.reused]
    locks = [tree / LOCK for tree in (base.side.tree, change.side.tree)]
    if not all(lock.exists() for lock in locks) or locks[0].read_text() != locks[1].read_text():
        notes.append(f"`{LOCK}` differs: both sides ran with the change's environment, so its effect is not in here.")
    return notes


def say(who: str, text: str) -> None:
    """Print a progress line."""
    with _LOUD:
        print(f"{time.monotonic() - _STARTED:5.0f} s  {who:<7} {text}", file=sys.stderr, flush=True)


def main(words: Sequence[str] | None = None) -> int:
    """Run the command. Returns 0, 1 if a model is worse beyond noise, 2 after a line on what failed, 130 on Ctrl-C."""
    warnings.simplefilter("ignore")
    logging.getLogger().setLevel(logging.ERROR)
    arguments = _parse(words)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        settings = Settings()
        report = compare(arguments, settings)
        _write(report, [settings.root / "model-ci" / "report.md", *([arguments.out] if arguments.out else [])])
    except KeyboardInterrupt:
        print("\nheadwater: interrupted; nothing is left running, and nothing half done is kept", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        print(f"headwater: {one_line(error)}", file=sys.stderr)
        return ERROR
    print(report.markdown(), flush=True)
    return WORSE if report.failed and not arguments.allow_worse else 0


def _write(report: Report, pages: Sequence[Path]) -> None:
    """Write each page, and the same numbers as JSON beside it."""
    for page in pages:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(report.markdown())
        page.with_suffix(".json").write_text(json.dumps(report.as_dict(), indent=2, default=str))


def _parse(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m assets.model_ci",
        description="Train with the working tree and with a base on a small window: better, worse or within noise.",
        epilog="Status 0: better, within noise, new or nothing to train; 1: worse beyond noise; 2: an error.",
    )
    parser.add_argument("models", nargs="*", help="models (default: those that the change can have touched)")
    parser.add_argument("--base", help="branch or commit (default: where this branch left origin/main, or main)")
    parser.add_argument("--window", help="months, ends included, such as 2013-01..2013-03 (default: the first three)")
    parser.add_argument("--seeds", type=int, default=3, help="trainings a side, at least 2 (default: 3)")
    parser.add_argument("--out", type=Path, help="file for the Markdown report; the JSON lies beside it")
    parser.add_argument("--all", action="store_true", help="all models, whether touched or not")
    parser.add_argument("--fresh", action="store_true", help="train the base again, too, though its result is kept")
    parser.add_argument("--allow-worse", action="store_true", help="status 0 also for a change that makes models worse")
    arguments = parser.parse_args(words)
    if arguments.seeds < 2:
        parser.error("--seeds: the noise of a seed needs at least 2")
    if arguments.out and arguments.out.suffix != ".md":
        parser.error("--out: give a file that ends in .md; the JSON gets the same name")
    return arguments


if __name__ == "__main__":
    quiet_exit()
    sys.exit(main())
