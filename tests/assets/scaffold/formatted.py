"""Whether what a scaffold writes is as the formatter and the linter want it."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
RUFF = [str(Path(sys.executable).parent / "ruff")]


def assert_formatted(text):
    for words in (["format", "--check", "-"], ["check", "--no-cache", "-"]):
        ended = subprocess.run([*RUFF, *words], input=text, cwd=ROOT, capture_output=True, text=True)
        assert ended.returncode == 0, text + ended.stdout + ended.stderr
