"""Files that a scaffold is about to write: all of them or none, and none over a file that somebody has written.

What stands in them is in `assets/new_model.py`, `new_source.py`, `new_feature.py` and `new_view.py`.
"""

import keyword
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TypeVar

ROOT = Path(__file__).parent.parent
FILL_IN = "FILL IN"
GUESS = "GUESS"

_DBT = "dbt_project/"
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_Held = TypeVar("_Held")


@dataclass(frozen=True)
class Draft:
    """Texts by path inside of `root`: files that must not be there, and files there with a part added."""

    new: Mapping[str, str]
    changed: Mapping[str, str] = field(default_factory=dict)
    root: Path = ROOT

    def __post_init__(self) -> None:
        taken = [name for name in self.new if (self.root / name).exists()]
        if taken:
            raise ValueError(f"{taken[0]} exists and is not overwritten; edit it, or take another name")

    @property
    def files(self) -> dict[str, str]:
        """All texts by path."""
        return {**self.new, **self.changed}

    @property
    def of_dbt(self) -> dict[str, str]:
        """The texts that belong to dbt's project, by path inside of it."""
        return {name.removeprefix(_DBT): text for name, text in self.files.items() if name.startswith(_DBT)}

    def write(self) -> None:
        """Write them. If one cannot be written, what was there before is there again."""
        before = {name: (self.root / name).read_text() for name in self.changed}
        written: list[str] = []
        try:
            for name, text in self.files.items():
                written.append(name)
                with (self.root / name).open("x" if name in self.new else "w") as file:
                    file.write(text)
        except OSError:
            for name in written:
                self._restore(name, before.get(name))
            raise

    def _restore(self, name: str, text: str | None) -> None:
        if text is None:
            (self.root / name).unlink(missing_ok=True)
        else:
            (self.root / name).write_text(text)


def require_name(name: str, what: str) -> None:
    """Raise ValueError unless `name` can be the name of a file, a table and a Python module."""
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise ValueError(f"{name!r} cannot be the name of a {what}; take lower_snake_case, such as river_gauges")


def formatted(text: str) -> str:
    """Return Python code as `make format` would leave it."""
    ruff = [str(Path(sys.executable).parent / "ruff"), "format", "--quiet", "-"]
    return subprocess.run(ruff, input=text, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def held(text: str, name: str, kind: type[_Held]) -> _Held:
    """Run a drafted file in memory and return what it holds: of what it imports, the rest of the tree has more."""
    module = ModuleType(name)
    exec(compile(text, f"{name}.py", "exec"), module.__dict__)
    (found,) = (
        value for value in vars(module).values() if isinstance(value, kind) and getattr(value, "name", "") == name
    )
    return found
