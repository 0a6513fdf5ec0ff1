"""Dagster's instance of this home, its records in SQLite or PostgreSQL, opened so that a failure is one line.

What is recorded there is Dagster's business; dagster.yaml says where it is.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from assets.failures import chain
from ml import remedies
from ml.postgres import cause, remedy, require_postgres
from ml.secret_address import shown
from ml.settings import Settings

_WHAT, _WHERE = "Dagster's database", "HEADWATER_DAGSTER_DB"


@contextmanager
def open_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """Open the instance of DAGSTER_HOME.

    Raises LookupError with the remedy if its database cannot be opened, or fails while it is in use.
    """
    require_database(settings)
    with dg.DagsterInstance.get() as instance:
        _require_same(instance, settings)
        try:
            yield instance
        except Exception as error:
            failed = _of_database(error) if settings.dagster_db else None
            if failed is None:
                raise
            raise LookupError(
                f"{_WHAT} {shown(settings.dagster_db)} failed ({cause(failed, settings.dagster_db)}); "
                f"{remedy(failed, _WHERE)}, then run again"
            ) from error


def require_database(settings: Settings) -> None:
    """Raise LookupError with the remedy if Dagster's database is a PostgreSQL that cannot be opened.

    Dagster itself would try for half a minute, and say that it tried too often.
    """
    if settings.dagster_db:
        require_postgres(settings.dagster_db, _WHAT, _WHERE)


def _require_same(instance: dg.DagsterInstance, settings: Settings) -> None:
    """Refuse a dagster.yaml that was made without the database: the runs would be in files."""
    if settings.dagster_db and not type(instance.run_storage).__module__.startswith("dagster_postgres"):
        raise LookupError(
            f"{_WHERE} is set, but the dagster.yaml of {instance.root_directory} knows nothing of a PostgreSQL; "
            + remedies.configure_dagster()
        )


def _of_database(error: Exception) -> BaseException | None:
    """Return the database's own error where Dagster gave up on it, None if it is another kind of failure."""
    from dagster_postgres.utils import DagsterPostgresException
    from sqlalchemy.exc import DBAPIError

    errors = chain(error)
    if not any(isinstance(e, DagsterPostgresException) for e in errors):
        return None
    return next((e for e in errors if isinstance(e, DBAPIError)), error)
