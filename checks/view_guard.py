"""The guard of definitions: a view version that a model in use reads is neither changed nor taken away.

Asked before dbt builds and again when rows are published, because a model may have come into use between the two.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from checks.guard import GateClosed
from ml.view_definitions import Definition, Difference, differences
from ml.view_log import Entry, same_rows
from serving.view_readers import ViewReader

ACCEPT = 'python -m assets.views accept {name} --reason "..."'


@dataclass(frozen=True)
class ViewGuard:
    """Compares what dbt declares with what is on record, both by name of the view version.

    `in_use` finds the models in use; it is asked only if something differs.
    """

    recorded: Mapping[str, Sequence[Entry]]
    declared: Mapping[str, Definition]
    in_use: Callable[[], Sequence[ViewReader]]

    def changes(self, name: str) -> tuple[Difference, ...]:
        """Return how the declared definition departs from the recorded one; none for a version not yet on record."""
        if name not in self.recorded or name not in self.declared:
            return ()
        return differences(self.recorded[name][-1].definition, self.declared[name])

    def retired(self) -> list[Definition]:
        """Return the recorded versions that dbt no longer declares."""
        return [entries[-1].definition for name, entries in self.recorded.items() if name not in self.declared]

    def readers(self, name: str) -> list[ViewReader]:
        """Return the models in use that read a view version."""
        return [reader for reader in self._in_use if name in reader.views]

    def admit(self, reader: str, names: Iterable[str]) -> None:
        """Raise GateClosed if one of `names`, or a version that is gone, must stay as it is on record.

        The error names the file, what changed, the models that read it and the remedy, for each of them.
        """
        refusals = [text for name in names if (text := self._changed(name))]
        refusals += [text for definition in self.retired() if (text := self._taken_away(definition))]
        if refusals:
            raise GateClosed(f"{reader} refuses: " + "\nand: ".join(refusals))

    def admit_rows(self, reader: str, name: str, built_from: Mapping[str, str | None], remedy: str) -> None:
        """Raise GateClosed, with `remedy`, unless every month's rows were built from the declared definition.

        `built_from` has the `Definition.rows` of each month, None if its commit does not say.
        """
        good, accepted = {self.declared[name].rows}, same_rows(self.recorded.get(name, ()))
        if good <= accepted:
            good = accepted
        other = sorted(month for month, rows in built_from.items() if rows not in good)
        if other:
            raise GateClosed(
                f"{reader} refuses: features/{name} was built from another definition of the view in "
                f"{', '.join(other)}; {remedy}"
            )

    def require_acceptable(self, name: str) -> tuple[Difference, ...]:
        """Return the differences of `name` that a person may accept: those in its SQL alone.

        Raises LookupError if nothing differs and GateClosed if something else than SQL does.
        """
        found = self.changes(name)
        if not found:
            raise LookupError(f"view {name!r} is as recorded, or has never been published: there is nothing to accept")
        other = [difference.text for difference in found if difference.kind != "sql"]
        if other:
            raise GateClosed(f"{name} cannot be taken for the same: {'; '.join(other)}; {self._remedy(name)}")
        return found

    @cached_property
    def _in_use(self) -> Sequence[ViewReader]:
        return self.in_use()

    def _changed(self, name: str) -> str:
        found = self.changes(name)
        if not found:
            return ""
        what = f"{self.declared[name].file}: view {name!r} has changed ({'; '.join(d.text for d in found)})"
        readers = self.readers(name)
        if readers:
            return f"{what} while in use by {_listed(readers)}; {self._remedy(name, found)}"
        if any(difference.kind == "type" for difference in found):
            return f"{what}; a published column keeps its type, read or not: {self._remedy(name)}"
        return ""

    def _remedy(self, name: str, found: Sequence[Difference] = ()) -> str:
        """What to do, with the YAML to write."""
        view = self.declared[name].view
        newest = max(d.version for d in self.declared.values() if d.view == view)
        remedy = (
            f"keep version {self.declared[name].version} as it is on record (what is upstream of it too: give "
            f"version {newest + 1} a staging model of its own if it needs another) and declare version {newest + 1} "
            f"in {self.declared[name].file}, with its SQL in {view}_v{newest + 1}.sql beside it:\n"
            + "\n".join(f"    {line}" for line in _entries(self.declared, view, newest + 1))
        )
        if found and all(difference.kind == "sql" for difference in found):
            remedy += f"\n  or, if the rows stay the same, say so: {ACCEPT.format(name=name)}"
        return remedy

    def _taken_away(self, definition: Definition) -> str:
        readers = self.readers(definition.name)
        if not readers:
            return ""
        return (
            f"{definition.file}: view {definition.name!r} (version {definition.version} of {definition.view}) is no "
            f"longer declared while in use by {_listed(readers)}; declare it again, retrain and deploy what reads it "
            "on another version, then retire it"
        )


def _entries(declared: Mapping[str, Definition], view: str, new: int) -> list[str]:
    """The YAML of a view's versions, the new one last."""
    lines = ["versions:"]
    for version in sorted(d.version for d in declared.values() if d.view == view):
        lines.append(f"  - v: {version}")
        if version == 1:
            lines.append(f"    defined_in: {view}")
    return [*lines, f"  - v: {new}", "    columns:", "      - include: all", "      # and here its own columns"]


def _listed(readers: Sequence[ViewReader]) -> str:
    return ", ".join(map(str, readers))
