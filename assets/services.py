"""The real servers that a home's stores are on in `make demo-services`: started together, stopped together.

A store more is a server module beside postgres_server.py, redis_server.py and s3_server.py, and a line in `opened` for
the settings that lead to it. Not here: the demo on them, and what proves that it ran there (assets/demo_services.py).
"""

import fcntl
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from assets.postgres_server import PostgresServer
from assets.redis_server import RedisServer
from assets.s3_server import S3Server
from ml.ports import taken
from serving.triton_files import free_ports

_SERVERS = ("postgres", "redis", "s3")


@dataclass(frozen=True)
class Services:
    """Running servers, and the settings by which a home keeps its state in them."""

    postgres: PostgresServer
    redis: RedisServer
    s3: S3Server
    variables: dict[str, str]

    @property
    def told(self) -> list[tuple[str, str]]:
        """What is kept where, for people; without passwords."""
        postgres = f"PostgreSQL {self.postgres.version} on 127.0.0.1:{self.postgres.port}"
        return [
            ("Dagster", f"{postgres}, database dagster"),
            ("MLflow", f"{postgres}, database mlflow; its files in the home"),
            ("online store", f"Redis {self.redis.version} on 127.0.0.1:{self.redis.port}, with a password"),
            ("lake", f"SeaweedFS {self.s3.version} on 127.0.0.1:{self.s3.port}, bucket {self.s3.bucket}, with a key"),
        ]


@contextmanager
def opened(folder: Path) -> Iterator[Services]:
    """Start the servers that keep their state in `folder`; stop them at the end, however it comes.

    Raises LookupError if another command works there, a server is not installed or does not start, OSError if a port
    is taken.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stack.enter_context(_alone(folder))
        ports = _ports(folder)
        postgres = PostgresServer(folder / "postgres", ports["postgres"])
        redis = RedisServer(folder / "redis", ports["redis"])
        s3 = S3Server(folder / "s3", ports["s3"])
        for server in (postgres, redis, s3):
            stack.callback(server.stop)
            server.start()
        yield Services(
            postgres,
            redis,
            s3,
            {
                **s3.environment,
                "HEADWATER_LAKE": f"s3://{s3.bucket}/demo",
                "HEADWATER_DAGSTER_DB": postgres.database("dagster"),
                "HEADWATER_TRACKING_URI": postgres.database("mlflow"),
                "HEADWATER_ONLINE_STORE": redis.address,
            },
        )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LookupError(f"another make demo-services works in {folder}; wait for its end") from None
        yield


def _ports(folder: Path) -> dict[str, int]:
    """Return the servers' ports, drawn once: deployed plans name them. Raises OSError if one is taken."""
    kept = folder / "ports.json"
    ports: dict[str, int] = json.loads(kept.read_text()) if kept.exists() else {}
    if missing := [name for name in _SERVERS if name not in ports]:
        ports |= dict(zip(missing, free_ports(len(missing)), strict=True))
        kept.write_text(json.dumps(ports))
    for name, port in ports.items():
        if taken(port):
            raise OSError(f"port {port} is taken, on which the {name} of {folder} was set up; stop what listens there")
    return ports
