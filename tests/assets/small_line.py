"""This repository cut down to one model on a few views, where a whole line is run for another's sake.

Each further view has its share in every step: in dbt's build, in the gates, in what is published, joined and audited.
"""

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from ml.models.flight_delay import FLIGHT_DELAY

ROOT = Path(__file__).parent.parent.parent
_LIST = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]

_FEATURE = re.compile(r' {8}"(\w+):\w+",\n')
_ELAPSED = re.compile(r' {8}Elapsed\([^()]*?since="(\w+):[^()]*\),\n')
_WEATHER = re.compile(r" {8}(?:\*WEATHER|seasonal_features=WEATHER),\n")  # the features of weather are made in a loop


def copy_repository(tree: Path) -> None:
    """Copy the files as they lie here."""
    for name in subprocess.run(_LIST, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines():
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, tree / name)


def cut_down(tree: Path, views: Sequence[str]) -> None:
    """Take all models but flight_delay, and all views but these with their suites, out of the files in `tree`."""
    tables = {*views, FLIGHT_DELAY.outcome.table}
    for path in (tree / "ml" / "models").glob("[a-z]*.py"):
        if path.stem != FLIGHT_DELAY.name:
            path.unlink()
    files = [*(tree / "dbt_project" / "models" / "features").iterdir()]
    for path in [*files, *(tree / "checks" / "expectations").glob("features_*.json")]:
        if path.stem.removeprefix("features_") not in tables:
            path.unlink()
    spec = tree / "ml" / "models" / f"{FLIGHT_DELAY.name}.py"
    text = spec.read_text()
    for pattern in (_FEATURE, _ELAPSED):
        text = pattern.sub(lambda found: found[0] if found[1] in views else "", text)
    spec.write_text(text if "weather_observation" in views else _WEATHER.sub("", text))
