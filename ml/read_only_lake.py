"""A lake that can only be read: for notebooks. Whatever would write a table, or take its lock to do so, is refused."""

from typing import Any, NoReturn

from ml.lake import Lake


class ReadOnlyLake(Lake):
    """Reads like `Lake`. Every way to write raises PermissionError, and nothing is written."""

    def restore(self, table: str, version: int) -> int:
        """Refuse."""
        self._refuse(table)

    def lock(self, table: str) -> NoReturn:
        """Refuse: only writers take it."""
        self._refuse(table)

    def _write(self, table: str, *_: Any, **__: Any) -> NoReturn:
        self._refuse(table)

    def _refuse(self, table: str) -> NoReturn:
        raise PermissionError(
            f"table {table!r} is not written: this lake was opened to be read; what writes tables is an asset, see "
            "docs/how-to.md"
        )
