"""`make ui`: the Dagster UI on the state that the demo made. Ctrl-C ends it with all it started."""

import os
import socket
import sys
from pathlib import Path

from ml.settings import Settings

LOOPBACK = "127.0.0.1"


def main() -> int:
    """Replace this process by `dagster dev`. Returns 1 after one line if the port is taken."""
    settings = Settings()
    if _taken(settings.ui_port):
        print(
            f"headwater: port {settings.ui_port} is taken; stop what listens there, or set HEADWATER_UI_PORT",
            file=sys.stderr,
        )
        return 1
    os.environ["DAGSTER_HOME"] = str(settings.dagster_home)
    print(f"Dagster UI: http://{LOOPBACK}:{settings.ui_port} (Ctrl-C ends it)", flush=True)
    dagster = str(Path(sys.executable).parent / "dagster")
    arguments = ["dev", "-w", "workspace.yaml", "-h", LOOPBACK, "-p", str(settings.ui_port)]
    os.execv(dagster, [dagster, *arguments])


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return True
    return False


if __name__ == "__main__":
    sys.exit(main())
