"""What drills share: a scratch copy of a home to spoil, the lines of the story, and promises that must hold.

What a drill breaks and repairs is in `assets/drill_<name>.py`.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from assets.command import interruptible
from assets.resources import Platform, platform_for
from ml.settings import Settings

_LEFT_OUT = shutil.ignore_patterns(
    "lake", "drills", "services", "logs", "reports", "training", "dagster", "server", "*-shm", "*.spool"
)


class PromiseBroken(Exception):
    """Something that a drill promises did not happen."""


@contextmanager
def scratch(platform: Platform) -> Iterator[Platform]:
    """Yield the parts of a copy of a home, removed afterwards. Tables are hard links, so it costs next to nothing.

    Dagster's instance, logs and reports are not copied. Raises LookupError if `make demo` has not run in the home,
    NotImplementedError if its lake is not in it.
    """
    home = platform.settings.root
    if platform.settings.lake != str(home / "lake"):
        raise NotImplementedError(
            f"drills work on a copy of the lake, and copy none but a home's own: unset HEADWATER_LAKE, which is "
            f"{platform.settings.lake}, in a home that make demo has run in"
        )
    if not platform.lake.tables():
        raise LookupError(f"there is nothing in {home} to drill on; run make demo first")
    (home / "drills").mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=home / "drills") as folder:
        copy = Path(folder) / "home"
        shutil.copytree(home, copy, ignore=_LEFT_OUT)
        # Delta's files are never written twice: a link to one costs nothing and cannot hand a write through.
        shutil.copytree(home / "lake", copy / "lake", ignore=shutil.ignore_patterns("*.lock"), copy_function=_link)
        yield replace(platform, settings=platform.settings.embedded_in(copy))


@contextmanager
def untouched(platform: Platform, what: str = "the home itself") -> Iterator[None]:
    """Promise that what is done meanwhile changes no file of the home. Raises PromiseBroken, naming some that changed.

    So it does if somebody else publishes, deploys or trains in the home at the same time.
    """
    before = fingerprint(platform)
    yield
    after = fingerprint(platform)
    changed = sorted(str(path) for path in {*before, *after} if before.get(path) != after.get(path))
    told = f"; changed: {', '.join(changed[:3])}{' ...' if len(changed) > 3 else ''}" if changed else ""
    promise(not changed, f"{what} is untouched: {len(before)} files{told}")


def fingerprint(platform: Platform) -> dict[Path, tuple[int, int]]:
    """Return size and time of last change of every file of published tables, online rows, served and trained models."""
    home = platform.settings.root
    served = [home / "serving" / name for name in ("models", "deployed", "artifacts")]
    parts = [home / "lake", home / "mlflow" / "artifacts", *served]
    files = [path for part in parts for path in part.rglob("*")] + sorted(home.glob("online.db*"))
    found = {path: path.stat() for path in files if path.is_file() and path.suffix != ".lock"}
    return {path: (status.st_size, status.st_mtime_ns) for path, status in found.items()}


@interruptible("the scratch home is gone")
def command(drill: Callable[[Platform], None]) -> int:
    """Run a drill on the home that the settings name. Returns 0, 1 after one line on what failed, 130 interrupted."""
    drill(platform_for(Settings()))
    return 0


def say(step: str, text: str) -> None:
    """Print one step of the story."""
    print(f"{step:<16}{text}", flush=True)


def promise(condition: bool, text: str) -> None:
    """Print what was promised and holds. Raises PromiseBroken if it does not."""
    if not condition:
        raise PromiseBroken(f"promised, but not so: {text}")
    say("  ok", text)


def _link(source: str, target: str) -> str:
    """Link a file, or copy it where the file system has no links."""
    try:
        os.link(source, target)
    except OSError:
        return str(shutil.copy2(source, target))
    return target
