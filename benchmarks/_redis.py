"""A redis-server of the benchmark's own: loopback, a free port, nothing kept."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def own_redis() -> Iterator[str]:
    """Yield host:port of a running server. Raises LookupError with the remedy if there is no redis-server."""
    import redis

    if shutil.which("redis-server") is None:
        raise LookupError("no redis-server on this machine; apt-get install redis-server (make test does)")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    server = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
    try:
        for _ in range(250):
            try:
                redis.Redis(port=port).ping()
                break
            except redis.ConnectionError:
                time.sleep(0.02)
        else:
            raise LookupError(f"redis-server does not answer on port {port}; run it by hand to see why")
        yield f"127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()
