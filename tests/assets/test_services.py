"""`make demo-services`: its servers are real, of its own, and gone when it ends, however it ends."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from assets.demo_services import run
from assets.services import opened
from ml.ports import taken
from ml.settings import Settings

ROOT = Path(__file__).parents[2]
LOGS = ("postgres/postgres.log", "redis/redis.log", "s3/seaweedfs.log")
SLICE = (sys.executable, "-m", "tests.assets.services_child")


def servers_of(home: Path) -> list[int]:
    """Return the processes whose words go to a server's log of the home, and those that it started."""
    logs = {home / "services" / "servers" / name for name in LOGS}
    found = set()
    for link in Path("/proc").glob("[0-9]*/fd/1"):
        try:
            if link.readlink() in logs:
                found.add(int(link.parts[2]))
        except OSError:
            continue
    return sorted(found)


def ports_of(home: Path) -> list[int]:
    return list(json.loads((home / "services" / "servers" / "ports.json").read_text()).values())


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> tuple[Path, list[str]]:
    """A home in which the command ran twice, on a slice of the line, and what it printed each time."""
    home, told = tmp_path_factory.mktemp("home"), []
    for _ in range(2):
        code = f"from assets.demo_services import run; from ml.settings import Settings; run(Settings(), {SLICE!r})"
        environment = {**os.environ, "HEADWATER_HOME": str(home), "PYTHONPATH": str(ROOT)}
        child = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, cwd=ROOT)
        assert child.returncode == 0, child.stdout + child.stderr
        told.append(child.stdout)
    return home, told


def test_state_is_in_the_servers_and_counted_there(done):
    told = done[1][0]
    assert "PostgreSQL 1" in told
    assert "no password in any process's arguments" in told
    assert "flight_delay 1 (champion)" in told
    assert "registered_models 1, model_versions 1" in told
    assert "aircraft 1" in told
    assert re.search(r"S3, of the lake +tables \d+, commits \d+, data files [1-9]", told)
    assert "holds no answers; make demo gives some" in told


def test_a_second_run_finds_what_the_first_one_left(done):
    assert "raw/airlines" in done[1][0]
    assert "up to date" not in done[1][0]
    assert "raw/airlines              up to date" in done[1][1]
    assert "flight_delay 1 (champion)" in done[1][1]


def test_nothing_is_left_running_and_nobody_else_may_read_the_passwords(done):
    home = done[0]
    assert servers_of(home) == []
    assert not [port for port in ports_of(home) if taken(port)]
    secrets = [*home.rglob("*.password"), *home.rglob("redis.conf"), *home.rglob("users.json")]
    assert len(secrets) == 7
    assert not [file for file in secrets if file.stat().st_mode & 0o077]


def test_a_demo_that_fails_leaves_nothing_running(done):
    with pytest.raises(LookupError, match="the demo failed on the real servers"):
        run(Settings(home=done[0]), (sys.executable, "-c", "raise SystemExit(1)"))
    assert servers_of(done[0]) == []


def test_a_second_command_at_once_and_a_taken_port_are_one_line(tmp_path):
    with opened(tmp_path) as services:
        with pytest.raises(LookupError, match="another make demo-services works in"), opened(tmp_path):
            pass
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "ports.json").write_text((tmp_path / "ports.json").read_text())
        with pytest.raises(OSError, match=f"port {services.postgres.port} is taken"), opened(tmp_path / "other"):
            pass


def started(home: Path, like: Path, code: str) -> subprocess.Popen[str]:
    """Start a command in a terminal of its own, in a home whose dbt project is parsed; return once it is at work."""
    shutil.copytree(like / "services" / "dbt", home / "services" / "dbt")
    environment = {**os.environ, "HEADWATER_HOME": str(home), "PYTHONPATH": str(ROOT)}
    out = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "start_new_session": True}
    command = subprocess.Popen([sys.executable, "-c", code], env=environment, cwd=ROOT, **out)
    assert any(line.startswith("raw/airlines") for line in command.stdout)
    assert len(servers_of(home)) > 2
    return command


def gone(home: Path) -> bool:
    until = time.monotonic() + 30
    while servers_of(home) and time.monotonic() < until:
        time.sleep(0.1)
    return servers_of(home) == []


def test_ctrl_c_in_the_demo_is_one_line_and_leaves_nothing_running(done, tmp_path):
    command = started(tmp_path, done[0], "from assets.demo_services import main; raise SystemExit(main())")
    os.killpg(command.pid, signal.SIGINT)  # as a terminal does
    rest = command.communicate(timeout=120)[0]
    assert command.returncode == 130, rest
    assert "Traceback" not in rest
    assert rest.strip().splitlines()[-1] == "headwater: interrupted; servers and Triton are stopped"
    assert servers_of(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_ended_or_killed_it_takes_demo_and_servers_along(done, tmp_path, number):
    child = "import time; print('raw/airlines', flush=True); time.sleep(300)"
    work = (sys.executable, "-c", child)
    code = f"import assets.demo_services as d; d.DEMO = {work!r}; raise SystemExit(d.main())"
    command = started(tmp_path, done[0], code)
    command.send_signal(number)
    rest = command.communicate(timeout=120)[0]  # until the demo, too, has let go of the terminal
    assert command.returncode == (-number if number == signal.SIGKILL else 130), rest
    assert gone(tmp_path)
