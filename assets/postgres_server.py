"""A PostgreSQL of our own on loopback, from Debian's package, its cluster in a folder; never the machine's own.

For `make demo-services` and tests. Not here: what is kept in it.
"""

import os
import pwd
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assets.own_server import await_ready, end, launch, password_in
from ml.postgres import require_postgres

_PACKAGE = Path("/usr/lib/postgresql")
_ADMIN = "headwater"


@dataclass
class PostgresServer:
    """The server of the cluster in `folder`, made when it first starts. Unless it `keeps`, a crash may lose all."""

    folder: Path
    port: int
    keeps: bool = True
    process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        """The cluster's folder."""
        return self.folder / "data"

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.folder / "postgres.log"

    @property
    def version(self) -> str:
        """The server's version."""
        return self._tell("postgres", "show server_version")

    def start(self) -> None:
        """Start the server and return when it answers.

        Raises LookupError if the package is missing or of another version than the cluster, or it does not start.
        """
        made = (self.data / "PG_VERSION").exists() and (self.folder / f"{_ADMIN}.password").exists()
        programs = _programs((self.data / "PG_VERSION").read_text().strip() if made else None)
        if not made:
            self._make(programs)
        flags = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": ""}
        flags |= {} if self.keeps else {"fsync": "off", "full_page_writes": "off"}
        words = [word for name, value in flags.items() for word in ("-c", f"{name}={value}")]
        with self._as_owner() as (folder, how):
            self.process = launch([programs / "postgres", "-D", folder, *words], self.log, signal.SIGINT, how)
        await_ready(self.process, self._answers, self.log)

    def stop(self) -> None:
        """End the server's sessions and the server, and return when it is down."""
        if self.process is not None:
            end(self.process, signal.SIGINT)  # its "fast shutdown"
            self.process = None

    def database(self, name: str) -> str:
        """Return the address of a database, of a user of the same name; both are made if they are not there."""
        if not name.isidentifier():
            raise ValueError(f"{name!r} is no name of a database")
        password = self._password(name)
        if self._tell("postgres", f"select 1 from pg_roles where rolname = '{name}'") != "1":
            self._tell("postgres", f"create role {name} login")
        self._tell("postgres", f"alter role {name} password '{password}'")
        if self._tell("postgres", f"select 1 from pg_database where datname = '{name}'") != "1":
            self._tell("postgres", f"create database {name} owner {name}")
        return f"postgresql://{name}:{password}@127.0.0.1:{self.port}/{name}"

    def _make(self, programs: Path) -> None:
        if self.data.exists() and any(self.data.iterdir()):
            raise LookupError(f"{self.data} is not a whole cluster of PostgreSQL; remove {self.folder} and run again")
        self.data.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            owner = _unprivileged()
            os.chown(self.data, owner.pw_uid, owner.pw_gid)
        auth = ["--auth-local=reject", "--auth-host=scram-sha-256"]
        words = [*auth, "--username", _ADMIN, "--locale=C.UTF-8", "--encoding=UTF8", "--no-sync"]
        password = self._password(_ADMIN)
        with self._as_owner() as (folder, how):
            _run([programs / "initdb", "-D", folder, *words], how)
            # By a server for one: before it, nobody has a password to come in with.
            one = [programs / "postgres", "--single", "-D", folder, "postgres"]
            _run(one, how, f"alter role {_ADMIN} password '{password}';\n")

    @contextmanager
    def _as_owner(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Give the cluster's folder, and how to start a program, so that the cluster's owner can use it.

        PostgreSQL refuses root, and the folders above may be root's alone: so the folder is handed over opened.
        """
        opened = os.open(self.data, os.O_RDONLY | os.O_DIRECTORY)
        how: dict[str, Any] = {"pass_fds": [opened], "cwd": "/"}
        if os.geteuid() == 0:
            owner = _unprivileged()
            how |= {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
        try:
            yield f"/proc/self/fd/{opened}", how
        finally:
            os.close(opened)

    def _password(self, user: str) -> str:
        return password_in(self.folder / f"{user}.password")

    def _address(self, database: str) -> str:
        return f"postgresql://{_ADMIN}:{self._password(_ADMIN)}@127.0.0.1:{self.port}/{database}"

    def _tell(self, database: str, statement: str) -> str:
        from sqlalchemy import create_engine, text
        from sqlalchemy.pool import NullPool

        engine = create_engine(self._address(database), poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            done = connection.execute(text(statement))
            return str(done.scalar()) if done.returns_rows else ""

    def _answers(self) -> bool:
        try:
            require_postgres(self._address("postgres"), "PostgreSQL", "its address")
        except LookupError:
            return False
        return True


def _programs(version: str | None) -> Path:
    """Return the folder of the server's programs, of a version, or of the newest there is."""
    found = [path for path in _PACKAGE.glob("*/bin") if (path / "postgres").exists()]
    found = [path for path in found if version in (None, path.parent.name)]
    if not found:
        raise LookupError(
            f"no PostgreSQL {version or ''} in {_PACKAGE}; apt-get install postgresql (make demo-services does)"
        )
    return max(found, key=lambda path: float(path.parent.name))


def _unprivileged() -> pwd.struct_passwd:
    """Return the user that Debian's package made for the server, else nobody."""
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise LookupError("PostgreSQL refuses root, and there is no user postgres; apt-get install postgresql")


def _run(words: list[Any], how: dict[str, Any], asked: str = "") -> None:
    done = subprocess.run(words, input=asked, capture_output=True, text=True, **how)
    if done.returncode:
        raise LookupError(f"{Path(words[0]).name} failed: {done.stderr.strip()[-500:]}")
