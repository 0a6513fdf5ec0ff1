"""Tables in runs: those with the same months go in one, and none before what it is made from."""

from collections.abc import Collection, Hashable, Iterator, Mapping
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)


def alike(kinds: Mapping[Key, Hashable], ancestors: Mapping[Key, Collection[Key]]) -> Iterator[list[Key]]:
    """Yield keys of one kind at a time, each key once and after its ancestors or beside them.

    A kind comes whole if something else can come before or after it; else as much of one as can, so that runs are few.
    """
    left = dict(kinds)
    while left:
        groups: dict[Hashable, list[Key]] = {}
        for key, kind in left.items():
            groups.setdefault(kind, []).append(key)
        ready = {kind: [key for key in group if _free(key, kind, left, ancestors)] for kind, group in groups.items()}
        kind = max(ready, key=lambda kind: (len(ready[kind]) == len(groups[kind]), len(ready[kind])))
        yield ready[kind]
        for key in ready[kind]:
            del left[key]


def _free(key: Key, kind: Hashable, left: Mapping[Key, Hashable], ancestors: Mapping[Key, Collection[Key]]) -> bool:
    """Whether nothing of another kind is left that `key` is made from, near or far."""
    return all(left.get(one, kind) == kind for one in ancestors[key])
