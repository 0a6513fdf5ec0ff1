"""The explicit list of sources. Adding one: a declaration in a file beside this, and its line here."""

from ml.source import Source
from ml.sources.nycflights13 import NYCFLIGHTS13

SOURCES: tuple[Source, ...] = NYCFLIGHTS13


def source_named(name: str) -> Source:
    """Return the source called `name`. Raises LookupError with the known names."""
    for source in SOURCES:
        if source.name == name:
            return source
    raise LookupError(f"no source {name!r}; ml/sources lists {[source.name for source in SOURCES]}")
