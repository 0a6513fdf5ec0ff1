"""A process beside a benchmark's, in any environment, that is asked and answers by one JSON line each."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parent.parent


class LineProcess:
    """Runs `python -m module`; ends with the block."""

    def __init__(self, module: str, python: Path | str = sys.executable) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        words = [python, "-m", module]
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def ask(self, question: Any) -> Any:
        """Send one line and return the answer. Raises LookupError if the process died."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise LookupError("a process of the benchmark died; its error stands above")
        return json.loads(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
