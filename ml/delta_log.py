"""A Delta table's log, read for what each commit says of itself: version, partitions and columns written, metadata.

Here, and not through `DeltaTable.history`: that counts versions down from the one it opened, and is off by one
for all of them when somebody commits in between. Writing, and reading rows, are in `ml.lake`.
"""

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deltalake import CommitProperties

from ml.storage import LOG, Storage, StorageUnreachable

_PARTITIONS = "headwater.partitions"
_METADATA = "headwater.metadata"
_COLUMNS = "headwater.columns"
_COMMIT = "headwater.commit"
_HOUSEKEEPING = ("VACUUM START", "VACUUM END", "OPTIMIZE")  # commits that change no row
_SMALLEST = 64  # bytes; a commit that says what it did takes more


@dataclass(frozen=True)
class DeltaLog:
    """The log of the table called `table`, a folder of the lake's storage."""

    table: str
    storage: Storage

    def commits(self) -> Iterator[dict[str, Any]]:
        """Yield the commits that changed rows, newest first; none if there is no table.

        Each has version, timestamp (ms), the partitions and columns written, and the metadata given. Raises
        LookupError with the remedy at a commit that is damaged.
        """
        for commit in self._entries():
            if commit.get("operation") not in _HOUSEKEEPING:
                yield {
                    "version": commit["version"],
                    "timestamp": commit.get("timestamp"),
                    "partitions": json.loads(commit.get(_PARTITIONS, "[]")),
                    "columns": json.loads(commit.get(_COLUMNS, "[]")),
                    "metadata": json.loads(commit.get(_METADATA, "{}")),
                }

    def newest(self) -> int:
        """Return the number of the newest commit, whatever it did; -1 if there is no table."""
        return max((int(name[:20]) for name in self._commits()), default=-1)

    def version_of(self, commit: str) -> int:
        """Return the version that a commit, by its id, became: others may have written since."""
        for entry in self._entries():
            if entry.get(_COMMIT) == commit:
                return entry["version"]
        raise LookupError(self.unreadable("it lacks the commit just made"))

    def refuse_emptied(self, version: int) -> None:
        """Raise LookupError if a commit up to `version` lost its content: Delta would pass over it in silence."""
        known = [name for name in self.storage.names(self._path) if name[:20].isdecimal() and int(name[:20]) <= version]
        checkpoint = max((name[:20] for name in known if ".checkpoint." in name), default="")
        read = [name for name in known if name.endswith(".json") and name[:20] > checkpoint]
        for name, size in zip(read, self.storage.sizes(self._path, read), strict=True):
            if size < _SMALLEST:
                raise LookupError(self.unreadable(f"its commit {name} is empty", version))

    def unreadable(self, reason: str | Exception, version: int | None = None) -> str:
        """Return the message for a table that cannot be read, on one line."""
        at = "" if version is None else f" at version {version}"
        told, place = first_line(reason), self.storage.at(self.table)
        return f"table {self.table!r}{at} cannot be read: {told}; restore {place} from a copy"

    @property
    def _path(self) -> str:
        return f"{self.table}/{LOG}"

    def _commits(self) -> list[str]:
        """Return the names of the commits' files, in no order."""
        names = self.storage.names(self._path)
        return [name for name in names if name.endswith(".json") and name[:20].isdecimal()]

    def _entries(self) -> Iterator[dict[str, Any]]:
        names = sorted(self._commits(), reverse=True)
        texts = self.storage.texts(self._path, names)
        for name in names:
            try:
                lines = (json.loads(line) for line in next(texts).splitlines())
                yield next(line["commitInfo"] for line in lines if "commitInfo" in line) | {"version": int(name[:20])}
            except StorageUnreachable:
                raise
            except (ValueError, OSError, StopIteration) as error:
                raise LookupError(self.unreadable(f"its commit {name} is damaged")) from error


def commit_properties(
    partitions: Sequence[str], metadata: Mapping[str, Any], columns: Sequence[str]
) -> tuple[CommitProperties, str]:
    """Return what a commit carries, and the id by which `DeltaLog.version_of` finds it again."""
    commit = uuid.uuid4().hex
    custom = {
        _COMMIT: commit,
        _PARTITIONS: json.dumps(list(partitions)),
        _COLUMNS: json.dumps(list(columns)),
        _METADATA: json.dumps(dict(metadata), default=str),
    }
    return CommitProperties(custom_metadata=custom), commit


def first_line(reason: str | Exception) -> str:
    """Return what an error says, without the frames that Delta's kernel adds on further lines."""
    return (str(reason).splitlines() or [type(reason).__name__])[0]
