"""Before anything is installed: what is missing on this machine, one clear line each, with the remedy.

Standard library only; runs on the system's python3. Checks nothing that the Makefile installs itself.
"""

import importlib.util
import os
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INSTALL_GB, RUN_GB = 6.0, 1.0


def problems(root: Path = ROOT) -> list[str]:
    """Return one line a problem, empty if `make demo` can start."""
    return [line for line in (_python(), _venv(), _disk(root), _writable(root)) if line]


def _python() -> str | None:
    if sys.version_info[:2] == (3, 11):
        return None
    return f"python3 is {sys.version.split()[0]}, needs 3.11; run make with PYTHON=/path/to/python3.11"


def _venv() -> str | None:
    if importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip"):
        return None
    return "python3 has no venv module; apt-get install python3.11-venv"


def _disk(root: Path) -> str | None:
    installed = (root / ".venv" / ".ready").exists()
    needed, free = RUN_GB if installed else INSTALL_GB, shutil.disk_usage(root).free / 1e9
    if free >= needed:
        return None
    return (
        f"{free:.1f} GB free on the disk of {root.name}/, needs {needed:.0f}; free some room, or clone to another disk"
    )


def _writable(root: Path) -> str | None:
    return None if os.access(root, os.W_OK) else f"the folder {root.name}/ is not writable; correct its permissions"


if __name__ == "__main__":
    found = problems()
    for line in found:
        print(f"headwater: {line}", file=sys.stderr)
    sys.exit(1 if found else 0)
