"""What goes wrong with the registry's store and files, told as one LookupError with the remedy.

Here: words for what MLflow, its database and its object store raise. Not here: what is missing in a registry that
works (ml/registry.py), and databases that cannot be opened at all (ml/postgres.py).
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ml.postgres import cause, remedy

WHERE = "HEADWATER_TRACKING_URI"


@contextmanager
def opening(tracking_uri: str, address: str) -> Iterator[None]:
    """Raise what stands in the way of opening the store as one LookupError. `address` is how messages name it."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError, ImportError) as error:
        raise LookupError(
            f"registry {address} cannot be opened ({_cause(error, tracking_uri)}); "
            f"{_remedy(error, 'check the address and the disk, or restore the database from a copy')}"
        ) from error


@contextmanager
def using(tracking_uri: str, address: str, artifact_root: str | Path) -> Iterator[None]:
    """Raise what an opened store, or the store of its files, raises as one LookupError."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        told = _remedy(error, "see that it runs and that its disk has room, then run again")
        raise LookupError(f"registry {address} failed ({_cause(error, tracking_uri)}); {told}") from error
    except _object_store_errors() as error:
        raise LookupError(
            f"artifacts at {artifact_root} failed ({_cause(error, tracking_uri)}); see that the store runs and that "
            "AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are its own, then run again"
        ) from error


def _cause(error: BaseException, tracking_uri: str) -> str:
    """Return what an error says in a line of its own, without the addresses of objects and SQL that follow it."""
    text = str(error)
    unreached = "Max retries exceeded" in text and "NewConnectionError" in text
    return "no answer from the server" if unreached else cause(error, tracking_uri)


def _remedy(error: BaseException, otherwise: str) -> str:
    """Return what to do about an error of MLflow, its server or its database."""
    from sqlalchemy.exc import OperationalError

    text = str(error)
    if isinstance(error, OperationalError) or "psycopg2.OperationalError" in text:
        return f"{remedy(error, WHERE)}, then run again" if "psycopg2" in text else otherwise
    if any(word in text for word in ("error code 401", "error code 403", "Unauthorized", "Forbidden")):
        return f"correct user and password in {WHERE}, then run again"
    return otherwise


def _object_store_errors() -> tuple[type[Exception], ...]:
    """Return what the client of object stores raises; nothing if nobody has used it."""
    if "boto3" not in sys.modules:
        return ()
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    return (Boto3Error, BotoCoreError, ClientError)
