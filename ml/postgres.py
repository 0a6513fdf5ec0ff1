"""Whether a PostgreSQL can be worked with, asked before others do: they try one that cannot for minutes.

Not here: what is kept in it (ml/registry.py, Dagster).
"""

import re

from ml.secret_address import scrubbed, shown

_CONNECT_SECONDS = 10
# What the server says in English; in another language its words alone must do.
_REMEDIES = {
    r"password authentication failed|no password supplied|no pg_hba.conf entry": "correct user and password in {where}",
    r"database .* does not exist": "create that database, or correct its name in {where}",
    r"permission denied": "let that user own the database",
    r"too many clients|remaining connection slots": "raise max_connections there, or end what holds them",
}
_REACH = "see that it runs and that {where} names its host and port"


def is_postgres(address: str) -> bool:
    """Return whether the address is one of a PostgreSQL."""
    return address.startswith("postgresql")


def require_postgres(address: str, what: str, where: str) -> None:
    """Raise LookupError unless the server answers, takes the password and has the database.

    `what` is kept there, as a message says it; `where` is the variable that holds the address.
    """
    from sqlalchemy import create_engine, text
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    try:
        engine = create_engine(address, poolclass=NullPool, connect_args={"connect_timeout": _CONNECT_SECONDS})
        with engine.connect() as connection:
            connection.execute(text("select 1"))
    except (SQLAlchemyError, ImportError, ValueError) as error:
        raise LookupError(
            f"{what} {shown(address)} cannot be opened ({cause(error, address)}); {remedy(error, where)}"
        ) from None  # the cause's own text may hold the address


def cause(error: BaseException, address: str) -> str:
    """Return what an error says, in a line of its own, without SQL, addresses of objects and the password."""
    lines = str(error).splitlines()
    text = lines[0].removeprefix("(psycopg2.OperationalError) ") if lines else ""
    return scrubbed(text, address) or type(error).__name__


def remedy(error: BaseException, where: str) -> str:
    """Return what to do about a database's error."""
    found = (words for pattern, words in _REMEDIES.items() if re.search(pattern, str(error)))
    return next(found, _REACH).format(where=where)
