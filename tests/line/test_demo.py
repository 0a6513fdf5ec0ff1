"""`make demo` as a user runs it: a real process, real data, a real Triton."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from assets.failures import one_line
from serving.server import Server
from tests.line.conftest import interrupt

pytestmark = pytest.mark.timeout(1200)


def test_it_answers_ten_october_flights_and_says_how_good_the_model_is(live):
    flights = re.findall(r"^2013-(?:09-30|10-\d\d)/\w+/\w{3} .* (0\.\d{3}|1\.000) ", live.first_output, re.MULTILINE)
    assert len(flights) == 10
    last = live.first_output.strip().splitlines()[-1]
    assert float(re.search(r"Test ROC AUC (\d\.\d+)", last)[1]) >= 0.70


def test_served_and_offline_probabilities_are_the_same(live):
    gap = float(re.search(r"differ by at most (\S+)\.", live.first_output)[1])
    assert gap < 1e-5


def test_every_answer_is_in_the_lake_with_the_features_that_made_it(live):
    ids = re.findall(r"\b[0-9a-f]{32}\b", live.first_output)
    logged = live.platform.lake.read("flight_delay/predictions").collect()
    assert set(ids) <= set(logged["prediction_id"])
    assert logged["origin_congestion__departures_3h"].null_count() < logged.height


def test_a_client_in_another_process_gets_probability_version_and_id(live):
    done = live.ask()
    assert done.returncode == 0, done.stderr
    assert re.search(r"\b[0-9a-f]{32}\b", done.stdout)
    assert "probability" in done.stdout


@dataclass
class Trouble:
    """What users saw while a port of Triton was taken, after it was killed, and of the demo's next run."""

    refused: subprocess.CompletedProcess[str]
    asked: subprocess.CompletedProcess[str]
    waited: float
    second: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def trouble(live):
    """One run of the demo mends all that went wrong before it, so that it is the second one too."""
    live.command(sys.executable, "-m", "serving.server", "stop")
    with socket.create_server(("127.0.0.1", live.ports["TRITON_GRPC"])):
        refused = live.command("make", "demo")
    live.command(sys.executable, "-m", "serving.server", "start")
    os.kill(Server(live.settings).status().pid, signal.SIGKILL)
    started = time.monotonic()
    asked = live.ask("--timeout", "3")
    waited = time.monotonic() - started
    return Trouble(refused, asked, waited, live.command("make", "demo"))


def test_a_killed_triton_is_a_clear_error_within_the_deadline_and_the_demo_brings_it_back(live, trouble):
    assert trouble.asked.returncode != 0
    assert "no Triton" in trouble.asked.stderr
    assert trouble.waited < 3 + 10  # the interpreter's start is not the call's
    assert trouble.second.returncode == 0, trouble.second.stdout + trouble.second.stderr
    assert live.ask().returncode == 0


def test_a_busy_port_is_one_clear_line_before_any_work(trouble):
    assert trouble.refused.returncode != 0
    assert "HEADWATER_TRITON_GRPC_PORT" in trouble.refused.stderr
    assert "Traceback" not in trouble.refused.stderr
    assert "up to date" not in trouble.refused.stdout


def test_a_second_run_does_only_what_is_out_of_date(live, trouble):
    done = trouble.second
    assert done.returncode == 0, done.stdout + done.stderr
    for stage in ("raw", "features", "published", "training_set", "model", "deployment"):
        assert re.search(rf"^{stage} +up to date$", done.stdout, re.MULTILINE), done.stdout
    assert live.platform.registry.newest("flight_delay").version == "1"


def test_an_interrupted_demo_says_so_and_leaves_no_process_behind(copied):
    shutil.rmtree(copied.home / "lake" / "flight_delay" / "training_set")
    before = _processes_of(copied.home)
    process = copied.start("make", "demo")
    told = list(iter_until(process.stdout, "training_set"))
    time.sleep(3)  # the join, or the checks of what it made
    assert process.poll() is None, told
    interrupt(process)
    try:
        output, _ = process.communicate(timeout=20)
    except subprocess.TimeoutExpired:  # it came within a finalizer, where Python drops it: one presses again
        interrupt(process)
        output, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "headwater: interrupted; nothing is left running" in output
    assert "DagsterExecutionInterruptedError" not in output
    time.sleep(2)
    assert _processes_of(copied.home) == before, output


def iter_until(lines, beginning):
    """Yield lines up to the one that begins so."""
    for line in lines:
        yield line
        if line.startswith(beginning):
            return


def test_a_full_disk_is_one_clear_line():
    def step():
        try:
            raise OSError(28, "No space left on device")
        except OSError as full:
            raise RuntimeError("step failed") from full

    with pytest.raises(RuntimeError) as failed:
        step()
    assert one_line(failed.value).startswith("the disk is full")


def test_an_environment_that_lacks_something_is_refused_and_says_what(live):
    code = "from assets.definitions import build_definitions; build_definitions('k8s')"
    done = live.command(sys.executable, "-W", "ignore", "-c", code)
    assert "HEADWATER_ENV=k8s: HEADWATER_IMAGE is not set" in done.stderr


def _processes_of(home):
    """Return the ids of processes whose environment names `home`."""
    found = set()
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"HEADWATER_HOME={home}".encode() in environ.read_bytes():
                found.add(environ.parent.name)
        except OSError:
            continue
    return found


def test_a_model_that_there_is_not_is_refused_with_those_that_there_are(live):
    done = live.command("make", "model", "NAME=flight_dely")
    assert done.returncode != 0
    told = "headwater: NAME is 'flight_dely': make model NAME=<arrival_delay, cancellation or flight_delay>"
    assert told in done.stderr
