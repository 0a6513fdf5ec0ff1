"""A Redis of our own on loopback, from Debian's package, what it holds in a folder; never the machine's own.

For `make demo-services`. Not here: what is kept in it.
"""

import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from assets.own_server import await_ready, end, launch, password_in, write_private

if TYPE_CHECKING:
    import redis


@dataclass
class RedisServer:
    """The server that keeps its rows in `folder`, and asks for a password."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where it is, with the password."""
        return f"redis://:{self._password}@127.0.0.1:{self.port}/0"

    @property
    def client(self) -> "redis.Redis":
        """A client of it."""
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        return redis.Redis.from_url(self.address, retry=Retry(NoBackoff(), 0))

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.folder / "redis.log"

    @property
    def version(self) -> str:
        """The server's version."""
        return str(self.client.info("server")["redis_version"])

    def start(self) -> None:
        """Start the server and return when it answers. Raises LookupError if it is missing or does not start."""
        program = shutil.which("redis-server")
        if program is None:
            raise LookupError("no redis-server; apt-get install redis-server (make demo-services does)")
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = {
            "bind": "127.0.0.1",
            "port": self.port,
            "dir": f'"{self.folder}"',
            "appendonly": "yes",
            "save": '""',
        }
        settings["requirepass"] = self._password  # in a file: anybody may list arguments
        write_private(self.folder / "redis.conf", "".join(f"{name} {value}\n" for name, value in settings.items()))
        self.process = launch([program, self.folder / "redis.conf"], self.log, signal.SIGTERM, {})
        await_ready(self.process, self._answers, self.log)

    def stop(self) -> None:
        """Have the server write what it holds and end, and return when it is down."""
        if self.process is not None:
            end(self.process, signal.SIGTERM)
            self.process = None

    @property
    def _password(self) -> str:
        return password_in(self.folder / "redis.password")

    def _answers(self) -> bool:
        import redis

        try:
            return bool(self.client.ping())
        except redis.ConnectionError:  # also while it reads its file
            return False
