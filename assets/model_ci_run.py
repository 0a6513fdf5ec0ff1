"""How `make model-ci` goes: the two sides, the models to train, the steps in order, the report.

Here: the order of things. The command line and the exit status are in assets/model_ci.py.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from threading import Lock

from assets.model_ci_cache import Cache
from assets.model_ci_report import Report
from assets.model_ci_sides import Processes, Side
from assets.model_ci_trees import LOCK, changed_files, checked_out, described, git, resolve
from assets.model_ci_verdict import Finding, judge
from assets.model_ci_work import Half, Task, Work, trained_by
from ml.months import between, month_before
from ml.provenance import ROOT
from ml.settings import Settings
from ml.split_windows import Split, Window

_PARTS = (6 / 12, 8 / 12)  # of the window: where validation and where test begin
_EXAMPLE = "2013-01..2013-03"
_LOUD = Lock()
_STARTED = time.monotonic()


def months_between(window: str | None) -> tuple[str, ...]:
    """Return the months of a window such as 2013-01..2013-03, ends included; None: the first three that there are.

    Raises LookupError if it is not a span of months that a source has, or None and sources have different months.
    """
    from ml.sources import SOURCES

    spans = list(dict.fromkeys(source.months for source in SOURCES if source.months is not None))
    told = ", ".join(map(str, spans))
    if window is None:
        if len(spans) != 1:
            raise LookupError(f"sources have different months ({told}): say which, such as WINDOW={_EXAMPLE}")
        window = f"{spans[0].first}..{month_before(spans[0].first, -2)}"
    first, _, last = window.partition("..")
    last = last or first
    if first > last or not any(span.has(first) and span.has(last) for span in spans):
        raise LookupError(f"window {window!r} is no span of months of a source ({told}), such as {_EXAMPLE}")
    return tuple(between(first, last))


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
    with cache.work() as folder, checked_out(commit, folder / "base-tree") as tree, Processes(say) as processes:
        logs = cache.root / "logs"
        base = Half(Side("base", tree, processes, logs), task, kept=not arguments.fresh)
        change = Half(Side("change", ROOT, processes, logs), task, kept=False)
        changed = changed_files(tree)
        work = Work(cache, folder)
        work.read_specs([base, change])
        models = chosen(arguments.models, arguments.all or bool(changed), base, change)
        models = [name for name in models if arguments.models or asked_in(split, name, base, change)]
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


def asked_in(window: Split, model: str, base: Half, change: Half) -> bool:
    """Return whether a model's own windows touch the months that are compared: other sources may have other months."""
    spec = base.specs.get(model) or change.specs[model]
    own = Split.model_validate(spec["split"])
    return own.train.start < window.test.end and window.train.start < own.test.end


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
