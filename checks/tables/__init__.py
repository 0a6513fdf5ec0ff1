"""Checks of one's own: every file beside this one that holds a TableCheck. Adding a check is adding its file.

A file's check bears the file's name; a file whose name begins with `_` is help for others. What a table's values must
be stands better in its suite file (`checks/suite.py`), how keys go together in dbt's tests.
"""

from collections.abc import Collection
from importlib import import_module
from pathlib import Path
from types import ModuleType

from checks.table_check import TableCheck

STAGES = ("raw", "features")
TAKEN = ("expectations", "history", "freshness", "dbt_tests")  # names that tables of these stages have already


def _checks() -> tuple[TableCheck, ...]:
    """Return the check of each file in this folder, by file name.

    Raises ValueError that names the file if it holds none of that name, or one that could never be run.
    """
    files = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("_"))
    return tuple(_check_of(import_module(f"{__name__}.{name}"), name) for name in files)


def _check_of(module: ModuleType, name: str) -> TableCheck:
    file = f"checks/tables/{name}.py"
    found = [value for value in vars(module).values() if isinstance(value, TableCheck) and value.name == name]
    if len(found) != 1:
        raise ValueError(f"{file} must hold one TableCheck with name={name!r}; it holds {len(found)}")
    if name in TAKEN:
        raise ValueError(f"{file}: every table has a check {name!r}; give this one another name")
    strangers = [table for table in found[0].tables if table.partition("/")[0] not in STAGES]
    if strangers or not found[0].tables:
        raise ValueError(f"{file}: tables must name raw/<source> or features/<view>, not {strangers or 'nothing'}")
    return found[0]


CHECKS: tuple[TableCheck, ...] = _checks()


def checks_of(table: str) -> tuple[TableCheck, ...]:
    """Return the checks of one's own on a table."""
    return tuple(check for check in CHECKS if table in check.tables)


def blocking_checks_of(table: str) -> tuple[str, ...]:
    """Return the names of those that block."""
    return tuple(check.name for check in checks_of(table) if check.blocking)


def refuse_unknown_tables(tables: Collection[str]) -> None:
    """Raise ValueError that names the checks on tables which are not among `tables`: nobody would ever run them."""
    for check in CHECKS:
        strangers = sorted(set(check.tables) - set(tables))
        if strangers:
            raise ValueError(
                f"checks/tables/{check.name}.py judges {strangers}, which do not exist; the tables are {sorted(tables)}"
            )
