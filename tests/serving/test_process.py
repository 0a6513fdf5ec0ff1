import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from serving.process import Detached, recall, save, spawn

ROOT = Path(sys.executable).resolve().parent


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[tuple[Detached, "subprocess.Popen[bytes]"]]:
    process, child = spawn(
        [str(Path(sys.executable).resolve()), "-c", "import time; time.sleep(60)"],
        {},
        tmp_path,
        tmp_path / "log",
        {"url": "x"},
    )
    yield process, child
    child.kill()
    child.wait()


def test_a_process_is_recalled_and_stopped(sleeper: tuple[Detached, "subprocess.Popen[bytes]"], tmp_path: Path) -> None:
    process, _ = sleeper
    save(process, tmp_path / "pid.json")
    known = recall(tmp_path / "pid.json")
    assert known == process
    assert known.alive()
    known.stop(ROOT, patience=5)
    assert not known.alive()


def test_a_recycled_pid_is_never_killed(sleeper: tuple[Detached, "subprocess.Popen[bytes]"], tmp_path: Path) -> None:
    process, child = sleeper
    stranger = replace(process, started=process.started - 1)
    assert not stranger.alive()
    stranger.stop(tmp_path, patience=1)
    rebooted = replace(process, boot="another")
    assert not rebooted.alive()
    rebooted.stop(ROOT, patience=1)
    assert child.poll() is None


def test_a_damaged_pid_file_is_no_process(tmp_path: Path) -> None:
    (tmp_path / "pid.json").write_text("{")
    assert recall(tmp_path / "pid.json") is None
    assert recall(tmp_path / "none.json") is None
