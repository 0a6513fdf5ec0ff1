"""Corruptions of the real data by every way to start a run: what catches each, and whether anything published changed.

`make bench NAME="fault_matrix --help"` lists the options. Every fault lands with its checks alone, and one that passes
them goes the whole way in one run. A spread of faults, or with `--everywhere` all of them, arrives on every path.
A clean month first goes every path: one that does not publish it proves nothing. A fault is caught if something refused
it and nothing that is published or served changed; harmless if what is published is what a clean month leaves.
"""

import argparse
import logging
import os
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks._fault_outcome import MATERIAL, Result
from benchmarks._fault_paths import IN_PROCESS, SERVED
from benchmarks._fault_play import Play
from benchmarks._fault_pool import landed
from benchmarks._fault_server import serving
from benchmarks._fault_world import open_world
from benchmarks.faults import FAULTS, Fault, fault_named
from benchmarks.faults.features import FAULTS as SQL_FAULTS
from benchmarks.faults.features import SqlFault
from benchmarks.report import conclude
from ml.settings import Settings
from ml.sources.nycflights13 import YEAR

MONTHS = ("2013-03", "2013-08")
MONTHS_OF_DATA = tuple(YEAR.names)
RAW, WHOLE_WAY = "raw alone", "one run"
SPREAD = ("dropped_column", "delays_in_seconds", "exact_duplicates", "stale_redated", "celsius", "planes_twice")


@dataclass(frozen=True)
class Trial:
    """A fault on one path in one month, and its fate."""

    month: str
    fault: Fault | SqlFault
    path: str
    result: Result


def main() -> None:
    """Play what the command line asks for, and print the matrix."""
    options = _options(sys.argv[2:])
    for name in options.faults or ():
        fault_named(name)  # before what is printed goes to a file
    folder = Settings().home / "benchmarks" / "fault_matrix"
    _only_ours(folder / "tools.log")
    warnings.simplefilter("ignore")
    logging.getLogger().setLevel(logging.ERROR)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # servers are stopped on the way out
    started = time.monotonic()
    trials: list[Trial] = []
    for month in options.months:
        trials += _month(folder, month, options)
    for month in options.months:
        print(_matrix([trial for trial in trials if trial.month == month]))
    _conclude(trials, time.monotonic() - started)


def _only_ours(log: Path) -> None:
    """Let what tools and assets tell of a thousand runs go to a file, and what is printed here to the terminal."""
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout = os.fdopen(os.dup(1), "w")
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    print(f"what tools tell goes to {log}", flush=True)


def _options(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="fault_matrix", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--months",
        nargs="+",
        default=MONTHS,
        choices=MONTHS_OF_DATA[1:],
        metavar="MONTH",
        help="months that arrive faulty, such as 2013-08: not the first, which has none before it",
    )
    parser.add_argument("--faults", nargs="+", metavar="FAULT", help="only these faults")
    parser.add_argument(
        "--paths",
        nargs="*",
        choices=[*IN_PROCESS, *SERVED],
        default=[*IN_PROCESS, *SERVED],
        help="ways to start a run, in quotes; landing alone is always played",
    )
    parser.add_argument("--everywhere", action="store_true", help="every fault on every path: hours")
    parser.add_argument("--no-sql", action="store_true", help="leave out the mistakes in SQL")
    return parser.parse_args(words)


def _month(folder: Path, month: str, options: argparse.Namespace) -> Iterator[Trial]:
    """Play one month, telling each fate as it comes."""
    faults = [fault_named(name) for name in options.faults] if options.faults else list(FAULTS)
    spread = faults if options.everywhere or options.faults else [fault_named(name) for name in SPREAD]
    print(f"{month}: the world before it, made by real runs unless there is one")
    play = Play(open_world(folder, month))
    _require_clean(play, options.paths)
    trials = [*_landed(play, faults), *([] if options.no_sql else _sql(play))]
    for path in options.paths:
        trials += _path(play, path, spread if path != WHOLE_WAY else _whole_way(trials, spread))
    yield from trials


def _require_clean(play: Play, paths: Iterable[str]) -> None:
    """Raise LookupError if a path does not publish the clean month, or something refuses it."""
    _say(play, "clean month", WHOLE_WAY, Result("harmless") if play.clean else None)
    with ExitStack() as stack:
        server = None
        for path in paths:
            if path in SERVED and server is None:
                play.world.restore()
                server = stack.enter_context(serving(play.world))
            result = play.path(path, (), server if path in SERVED else None)
            _say(play, "clean month", path, result)
            if result.state != "harmless":
                raise LookupError(f"the path {path!r} proves nothing: a clean {play.world.month} on it: {result}")


def _landed(play: Play, faults: Sequence[Fault]) -> Iterator[Trial]:
    for fault, result in landed(play.world, faults):
        yield _told(play, fault, RAW, result)


def _sql(play: Play) -> Iterator[Trial]:
    with tempfile.TemporaryDirectory() as folder:
        for fault in SQL_FAULTS:
            yield _told(play, fault, WHOLE_WAY, play.sql(fault, Path(folder)))


def _whole_way(trials: Iterable[Trial], spread: Sequence[Fault]) -> list[Fault]:
    """Return the faults that go the whole way: those that landing passed on, and the spread."""
    passed = [t.fault for t in trials if t.result.state == "passed on" and isinstance(t.fault, Fault)]
    return list(dict.fromkeys([*passed, *spread]))


def _path(play: Play, path: str, faults: Sequence[Fault]) -> Iterator[Trial]:
    """Play faults on one path; a path of a server gets one for all of them."""
    with ExitStack() as stack:
        if path in SERVED:
            play.world.restore()
        server = stack.enter_context(serving(play.world)) if path in SERVED else None
        for fault in faults:
            yield _told(play, fault, path, play.path(path, [fault], server))


def _told(play: Play, fault: Fault | SqlFault, path: str, result: Result) -> Trial:
    _say(play, fault.name, path, result)
    return Trial(play.world.month, fault, path, result)


def _say(play: Play, name: str, path: str, result: Result | None) -> None:
    print(f"  {play.world.month}  {path:<16}{name:<34}{result}", flush=True)


def _matrix(trials: Sequence[Trial]) -> str:
    """Return the table of one month: a row a fault, a column a path, what caught it in each."""
    paths = list(dict.fromkeys(trial.path for trial in trials))
    fates = {(trial.fault.name, trial.path): trial.result for trial in trials}
    faults = list({trial.fault.name: trial.fault for trial in trials}.values())
    lines = ["", f"{trials[0].month:<34}" + "".join(f"{path:<26}" for path in paths) if trials else ""]
    for fault in faults:
        cells = [_cell(fates.get((fault.name, path))) for path in paths]
        lines.append(f"{fault.name:<34}" + "".join(f"{cell:<26}" for cell in cells).rstrip())
    return "\n".join(lines)


def _cell(result: Result | None) -> str:
    if result is None:
        return "."
    if result.state == "missed":
        return f"{'MISSED' if result.material else 'missed'} {result.share:.2%}"
    if not result.refusals:
        return result.state
    first = result.refusals[0]
    return f"{'' if result.state == 'caught' else result.state + ' '}{first.stage} {first.check}"[:25]


def _conclude(trials: Sequence[Trial], seconds: float) -> None:
    """Print totals, what no check can tell, what was missed; and the line that ends a benchmark."""
    final = [t for t in trials if t.result.state != "passed on"]
    counts = Counter(t.result.state for t in final)
    hopeless = {t.fault.name: t.fault for t in trials if t.fault.uncatchable}
    missed = [t for t in final if t.result.material and not t.fault.uncatchable]
    unclear = [t for t in final if t.result.state in ("crashed", "nothing ran")]
    caught = counts["caught"]
    print("\nWhat no check can tell from a good month:")
    for fault in hopeless.values():
        fates = ", ".join(sorted({f"{t.month} {t.result}" for t in final if t.fault.name == fault.name}))
        print(f"  {fault.name}: {fault.what}. {fault.uncatchable}. ({fates})")
    print(f"\nMissed, and material (from {MATERIAL:.1%} of a published column's cells of the month on):")
    for trial in missed:
        why = f". {trial.fault.missed}" if trial.fault.missed else ""
        print(f"  {trial.month} {trial.path}: {trial.fault.name} ({trial.fault.what}): {trial.result}{why}")
    print("" if missed else "  none")
    print("\nStopped, but by nothing that says why:")
    print("\n".join(f"  {t.month} {t.path}: {t.fault.name}: {t.result}" for t in unclear) or "  none")
    by = Counter(f"{r.stage} {r.check}" for t in final if t.result.state == "caught" for r in t.result.refusals[:1])
    print("\nFirst to refuse: " + ", ".join(f"{what} {count}" for what, count in by.most_common()))
    print(f"{len(final)} trials in {seconds:.0f} s: " + ", ".join(f"{n} {state}" for state, n in counts.most_common()))
    conclude(
        "fault_matrix",
        caught / max(1, caught + len(missed) + len(unclear)),
        1.0,
        faults=len({t.fault.name for t in trials}),
        paths=sorted({t.path for t in trials}),
        trials=len(final),
        fates=dict(counts),
        missed_material=sorted({t.fault.name for t in missed}),
        uncatchable=sorted(hopeless),
    )
