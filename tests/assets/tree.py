"""A copy of this repository under git, with an empty home: what is added to it is seen by the files it touches."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.assets.small_line import copy_repository

# Prints what a run of one asset's month said, as JSON: whether it succeeded and its failed checks.
MATERIALIZE = """
import json, sys, warnings
warnings.simplefilter("ignore")
import dagster as dg
from assets.definitions import defs
from assets.quiet import quiet_exit
from assets.runs import QUIET, materialize
quiet_exit()
with dg.DagsterInstance.ephemeral() as instance:
    keys = [dg.AssetKey(key.split("/")) for key in sys.argv[2:]]
    result = materialize(defs, instance, keys, [sys.argv[1]], go_on=True, told=QUIET)
    failed = [e.check_name for e in result.get_asset_check_evaluations() if not e.passed]
    steps = [e.step_failure_data.error for e in result.all_events if e.is_step_failure]
    errors = [error.message for error in steps if error]
    print(json.dumps({"success": result.success, "failed": failed, "errors": errors}))
"""

# Prints what the definitions hold, as JSON.
GRAPH = """
import json, warnings
warnings.simplefilter("ignore")
from dataclasses import asdict
from assets.definitions import defs
from assets.plan_graph import graph_of
from assets.quiet import quiet_exit
quiet_exit()
print(json.dumps(asdict(graph_of(defs))))
"""


@dataclass(frozen=True)
class Tree:
    """The copy in `root`; commands run in it as they do in the repository."""

    root: Path

    @property
    def home(self) -> Path:
        return self.root / ".headwater"

    def git(self, *words: str) -> str:
        command = ["git", "-c", "user.name=tests", "-c", "user.email=tests@example.org", *words]
        return subprocess.run(command, cwd=self.root, capture_output=True, text=True, check=True).stdout

    def commit(self) -> None:
        self.git("add", "-A")
        self.git("commit", "-qm", "as it was")

    def touched(self) -> list[str]:
        """The files that differ from the last commit, as git tells: "?? " is new, " M " changed."""
        return sorted(self.git("status", "--porcelain", "--untracked-files=all").splitlines())

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run this Python with `words` in the copy."""
        environment = {n: v for n, v in os.environ.items() if not n.startswith(("HEADWATER_", "DAGSTER_"))}
        environment |= {"PYTHONPATH": str(self.root), "HEADWATER_HOME": str(self.home), "DO_NOT_TRACK": "true"}
        return subprocess.run([sys.executable, *words], cwd=self.root, env=environment, capture_output=True, text=True)

    def told(self, *words: str) -> str:
        """What a command prints that succeeds."""
        ended = self.run(*words)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    def refused(self, *words: str) -> str:
        """The one line of a command that fails and writes nothing."""
        before = self.touched()
        ended = self.run(*words)
        assert (ended.returncode, ended.stdout) == (1, ""), ended.stdout + ended.stderr
        assert self.touched() == before
        (line,) = ended.stderr.strip().splitlines()
        return line

    def materialize(self, month: str, *keys: str) -> dict:
        return json.loads(self.told("-c", MATERIALIZE, month, *keys).splitlines()[-1])

    def graph(self) -> dict:
        return json.loads(self.told("-c", GRAPH).splitlines()[-1])

    def parse(self) -> None:
        """What `make setup` does: dbt's manifest for the files as they are."""
        (self.home / "dbt").mkdir(parents=True, exist_ok=True)
        places = ["--project-dir", "dbt_project", "--profiles-dir", "dbt_project"]
        places += ["--target-path", str(self.home / "dbt"), "--log-path", str(self.home / "dbt")]
        environment = {**os.environ, "HEADWATER_DBT_LAKE": str(self.home / "lake"), "HEADWATER_WAREHOUSE": "x.duckdb"}
        command = [str(Path(sys.executable).parent / "dbt"), "--quiet", "parse", *places]
        ended = subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stdout + ended.stderr

    def copy(self, root: Path) -> "Tree":
        """A copy that a test may spoil."""
        shutil.copytree(self.root, root, symlinks=True)
        return Tree(root)


def fresh_tree(root: Path) -> Tree:
    """Return a copy of the repository as it lies here, committed, with dbt's manifest."""
    copy_repository(root)
    tree = Tree(root)
    tree.git("init", "-q")
    tree.commit()
    tree.parse()
    return tree


def planned_assets(printed: str) -> list[str]:
    """The keys of the assets that a printed plan names."""
    return [line.split()[1] for line in printed.splitlines() if line.startswith("  asset ")]
