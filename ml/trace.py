"""The trace of something as data: steps, each with what is known of it, what is gone, and the steps it stands on.

Terminal, page and JSON show the same steps (`trace_text`, `trace_page`). Finding them is wired in assets/trace*.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal

Kind = Literal["prediction", "serving", "model", "data", "feature", "columns", "raw", "source", "checks", "impact"]


@dataclass(frozen=True)
class Step:
    """One thing on the way.

    `name` says what it is, `facts` what is known of it by words that people read, `rows` are records of one table.
    `gone` has a line for everything that cannot be known any more, or does not agree. `below` is what it stands on.
    """

    kind: Kind
    name: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    rows: tuple[Mapping[str, Any], ...] = ()
    gone: tuple[str, ...] = ()
    below: tuple["Step", ...] = ()

    def to_data(self) -> dict[str, Any]:
        """Return it as JSON has it; nothing is shortened, what is empty is left out."""
        told = {
            "kind": self.kind,
            "name": self.name,
            "facts": plain(self.facts),
            "rows": plain(self.rows),
            "gone": list(self.gone),
            "below": [step.to_data() for step in self.below],
        }
        return {key: value for key, value in told.items() if value or key in ("kind", "name")}

    def walk(self) -> Iterator["Step"]:
        """Yield it and all steps that it stands on."""
        yield self
        for step in self.below:
            yield from step.walk()

    def missing(self) -> list[str]:
        """Return everything that is gone or does not agree, on the whole way, each line once."""
        return list(dict.fromkeys(line for step in self.walk() for line in step.gone))


def attempt(kind: Kind, name: str, find: Callable[[], Step]) -> Step:
    """Return the step that `find` makes, or one that says what is gone: the rest of the trace is shown all the same."""
    try:
        return find()
    except (LookupError, ValueError, OSError) as error:
        return Step(kind, name, gone=(" ".join(str(error).split()) or type(error).__name__,))


def plain(value: Any) -> Any:
    """Return a value as JSON has it: instants in ISO's form, tuples as lists, sets sorted."""
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, datetime | date):
        return value.isoformat()
    return value
