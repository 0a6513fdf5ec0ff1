"""`make ui`: the Dagster UI on the state that the demo made, and the drift pages that it links to.

Ctrl-C ends it with all it started.
"""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from assets.command import REFUSALS, in_one_line
from assets.instance import require_database
from assets.reports import LOOPBACK
from ml.ports import taken
from ml.process import end_when_asked, end_with_parent
from ml.settings import Settings

# Dagster says of each parameter in beta, at each use, that it is; by category Python could not name them this early.
QUIET = "ignore:Parameter `,ignore:Class `,ignore:Function `dev_command`"
ANNOUNCE = "--announce"


@in_one_line(*REFUSALS)
def main() -> int:
    """Replace this process by `dagster dev`. Returns 1 after one line if a port or the database is not to be had."""
    settings = Settings()
    require_database(settings)
    for port, setting in ((settings.ui_port, "HEADWATER_UI_PORT"), (settings.reports_port, "HEADWATER_REPORTS_PORT")):
        if taken(port):
            raise OSError(f"port {port} is taken; stop what listens there, or set {setting}")
    for started in (["assets.reports"], ["assets.ui", ANNOUNCE]):
        subprocess.Popen([sys.executable, "-m", *started])  # ends with this process
    os.environ["DAGSTER_HOME"] = str(settings.dagster_home)
    os.environ["PYTHONWARNINGS"] = ",".join(filter(None, [QUIET, os.environ.get("PYTHONWARNINGS")]))
    print(f"Dagster UI: http://{LOOPBACK}:{settings.ui_port} (Ctrl-C ends it)", flush=True)
    dagster = str(Path(sys.executable).parent / "dagster")
    arguments = ["dev", "-w", "workspace.yaml", "-h", LOOPBACK, "-p", str(settings.ui_port)]
    os.execv(dagster, [dagster, *arguments])


def announce() -> int:
    """Say where to begin once the UI answers: what was said before has scrolled away by then."""
    end_with_parent()
    end_when_asked()
    settings = Settings()
    while not _answers(settings.ui_port):
        time.sleep(0.5)
    time.sleep(1)  # its own lines first
    print(f"\nDagster UI, the lineage: {settings.ui_address}/asset-groups (Ctrl-C ends it)\n", flush=True)
    return 0


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


if __name__ == "__main__":
    sys.exit(announce() if sys.argv[1:] == [ANNOUNCE] else main())
