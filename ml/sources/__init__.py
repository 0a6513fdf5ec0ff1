"""The sources: every file beside this one that holds a Source, or several. Adding a source is adding its file.

A file whose name begins with `_` is help for others and holds none.
"""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

from ml.source import Source


def _sources() -> tuple[Source, ...]:
    """Return the sources of each file in this folder, by file name and then as they stand in it.

    Raises ValueError that names the file if it holds none, or one of a name that another file has.
    """
    files = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("_"))
    found = dict[str, tuple[str, Source]]()
    for name in files:
        for source in _held(import_module(f"{__name__}.{name}"), name):
            first, known = found.setdefault(source.name, (name, source))
            if known is not source:
                raise ValueError(
                    f"ml/sources/{name}.py names a source {source.name!r}, and so does ml/sources/{first}.py; "
                    "a source is a table of its own: rename one of them"
                )
    return tuple(source for _, source in found.values())


def _held(module: ModuleType, name: str) -> Iterator[Source]:
    found = {id(value): value for value in vars(module).values() if isinstance(value, Source)}
    if not found:
        raise ValueError(
            f"ml/sources/{name}.py holds no Source; declare one, or name the file _{name}.py if it is help"
        )
    yield from found.values()


SOURCES: tuple[Source, ...] = _sources()


def source_named(name: str) -> Source:
    """Return the source called `name`. Raises LookupError with the known names."""
    for source in SOURCES:
        if source.name == name:
            return source
    raise LookupError(f"no source {name!r}; ml/sources holds {[source.name for source in SOURCES]}")
