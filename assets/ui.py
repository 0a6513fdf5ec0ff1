"""`make ui`: the Dagster UI on the state that the demo made, and the drift pages that it links to.

Ctrl-C ends it with all it started.
"""

import os
import subprocess
import sys
from pathlib import Path

from assets.instance import require_database
from assets.reports import LOOPBACK
from ml.ports import taken
from ml.settings import Settings


def main() -> int:
    """Replace this process by `dagster dev`. Returns 1 after one line if a port or the database is not to be had."""
    settings = Settings()
    try:
        require_database(settings)
    except LookupError as error:
        print(f"headwater: {error}", file=sys.stderr)
        return 1
    for port, setting in ((settings.ui_port, "HEADWATER_UI_PORT"), (settings.reports_port, "HEADWATER_REPORTS_PORT")):
        if taken(port):
            print(f"headwater: port {port} is taken; stop what listens there, or set {setting}", file=sys.stderr)
            return 1
    subprocess.Popen([sys.executable, "-m", "assets.reports"])  # ends with this process
    os.environ["DAGSTER_HOME"] = str(settings.dagster_home)
    print(f"Dagster UI: http://{LOOPBACK}:{settings.ui_port} (Ctrl-C ends it)", flush=True)
    dagster = str(Path(sys.executable).parent / "dagster")
    arguments = ["dev", "-w", "workspace.yaml", "-h", LOOPBACK, "-p", str(settings.ui_port)]
    os.execv(dagster, [dagster, *arguments])


if __name__ == "__main__":
    sys.exit(main())
