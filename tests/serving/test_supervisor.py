import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from serving.process import recall
from serving.supervisor import Supervisor
from tests.serving.conftest import Served, leader, stubs
from tests.serving.example import ROW

pytestmark = pytest.mark.server


def answers(served: Served) -> bool:
    try:
        return bool(served.client(timeout=2.0).predict("example", [ROW]))
    except (OSError, LookupError, RuntimeError):
        return False


def test_what_answers_is_left_alone(running: Served) -> None:
    processes = [leader(running), *stubs(running)]
    assert Supervisor(running.settings).look() == ""
    assert [leader(running), *stubs(running)] == processes


def test_a_killed_model_process_is_loaded_again_and_a_killed_server_started_again(running: Served) -> None:
    pid = leader(running)
    os.kill(stubs(running)[0], signal.SIGKILL)
    assert not answers(running)
    assert Supervisor(running.settings).look().startswith("example did not answer; recovered in ")
    assert answers(running)
    assert leader(running) == pid
    os.kill(pid, signal.SIGKILL)
    assert not answers(running)
    assert Supervisor(running.settings).look().startswith("Triton did not answer; recovered in ")
    assert answers(running)


def test_a_server_that_could_not_be_started_again_is_tried_again(running: Served) -> None:
    supervisor, process = Supervisor(running.settings), recall(running.settings.triton_state / "triton.json")
    assert process is not None
    process.stop(running.settings.triton_root, 10.0)  # dies, and its ports are free
    address = ("127.0.0.1", running.settings.triton_metrics_port)
    with socket.create_server(address), pytest.raises(OSError, match="is taken"):
        supervisor.look()
    assert supervisor.look().startswith("Triton did not answer; recovered in ")
    assert answers(running)


def test_a_server_stopped_on_purpose_stays_stopped(running: Served) -> None:
    running.server.stop()
    assert Supervisor(running.settings).look() == ""
    assert running.server.status().pid is None


def test_the_command_recovers_by_itself_and_ends_when_asked(running: Served) -> None:
    settings = running.settings
    environment = {
        **os.environ,
        "PYTHONPATH": os.getcwd(),
        "HEADWATER_HOME": str(settings.home),
        "HEADWATER_TRITON_GRPC_PORT": str(settings.triton_grpc_port),
        "HEADWATER_TRITON_METRICS_PORT": str(settings.triton_metrics_port),
    }
    command = [sys.executable, "-m", "serving.supervisor", "--every", "0.2"]
    supervisor = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert supervisor.stdout is not None
    assert supervisor.stdout.readline().startswith("looks after Triton at 127.0.0.1:")
    os.kill(stubs(running)[0], signal.SIGKILL)
    assert supervisor.stdout.readline().startswith("example did not answer; recovered in ")
    until = time.monotonic() + 20
    while not answers(running) and time.monotonic() < until:
        time.sleep(0.1)
    assert answers(running)
    supervisor.send_signal(signal.SIGTERM)
    assert supervisor.wait(20) == 0
