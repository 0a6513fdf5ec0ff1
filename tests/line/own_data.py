"""The problem of docs/bring-your-own-data.md: its files, as the page shows them, written into a tree of their own."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from serving.triton_files import free_ports
from tests.assets.small_line import ROOT, copy_repository

PAGE = ROOT / "docs" / "bring-your-own-data.md"
MODEL = "high_glucose"
PORTS = ("TRITON_GRPC", "TRITON_METRICS", "UI", "REPORTS", "MLFLOW")
_INSTALLED = (".venv", ".venv-serving", ".triton", ".tools")
_FILE = re.compile(r"^`([^`\n]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def files_of_page() -> dict[str, str]:
    """Return what the reader writes: the text of each file by its path."""
    return dict(_FILE.findall(PAGE.read_text()))


@dataclass
class OwnTree:
    """A copy of the repository with the page's files in it, and a home of its own."""

    tree: Path
    home: Path

    def __post_init__(self) -> None:
        self.ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))

    def write(self) -> None:
        """Copy what is here, link what is installed, add the page's files. None of them may be there already."""
        copy_repository(self.tree)
        for name in _INSTALLED:
            (self.tree / name).symlink_to((ROOT / name).resolve())
        for name, text in files_of_page().items():
            assert not (self.tree / name).exists(), f"{name} is there already"
            (self.tree / name).write_text(text)

    def run(self, *words: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """Run Python in the tree as a user there does, and return what it printed."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HEADWATER_", "DAGSTER", "PYTHONPATH"))}
        ours = {f"HEADWATER_{name}_PORT": str(port) for name, port in self.ports.items()}
        ours |= {
            "HEADWATER_HOME": str(self.home),
            "DAGSTER_HOME": str(self.home / "dagster"),
            "PYTHONPATH": str(self.tree),
        }
        return subprocess.run(
            (sys.executable, *words),
            cwd=self.tree,
            env={**kept, **ours},
            capture_output=True,
            text=True,
            timeout=timeout,
        )
