"""The registry as MLflow's server on a PostgreSQL, which passes files on: nobody but it has password or disk."""

import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import polars as pl
import pytest

from ml.old_runs import remove_runs, unregistered_runs
from ml.registry import Registry
from ml.scoring import example_feed
from tests.redis_server import free_port
from tests.serving.example import RAW, write_graph


@pytest.fixture(scope="module")
def address(mlflow_postgres, tmp_path_factory):
    port, folder = free_port(), tmp_path_factory.mktemp("served")
    words = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    told = {
        "MLFLOW_BACKEND_STORE_URI": mlflow_postgres,
        "MLFLOW_ARTIFACTS_DESTINATION": str(folder),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    child = subprocess.Popen(words, env={**os.environ, **told}, start_new_session=True, **quiet)
    until = time.monotonic() + 120
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
            break
        except OSError:
            time.sleep(0.3)
    yield f"http://127.0.0.1:{port}"
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()


@pytest.fixture
def registry(address, tmp_path):
    return Registry(address, "mlflow-artifacts:/", tmp_path / "cache")


def test_a_version_s_files_go_through_the_server_and_come_back_byte_for_byte(registry, tmp_path):
    path = write_graph(tmp_path / "model.onnx", -3.0)
    with registry.recording("served") as run:
        number = run.register(path, example_feed(path, pl.DataFrame([RAW]), 1))
    registry.set_aliases("served", {"champion": number})
    found = registry.champion("served")
    assert registry.onnx_path(found).read_bytes() == path.read_bytes()
    assert registry.onnx_address(found).startswith("mlflow-artifacts:/served/")
    (tmp_path / "evidence").mkdir()
    for said in ("first", "second"):  # evidence is replaced, and nobody reads the old one
        (tmp_path / "evidence" / "verdict.json").write_text(said)
        registry.keep(found, tmp_path / "evidence", "evidence")
        assert registry.artifact(found, "evidence/verdict.json").read_text() == said
    with pytest.raises(LookupError, match=r"version 1 of model 'served' lacks mlflow-artifacts:/.*/nothing.json"):
        registry.artifact(found, "nothing.json")


def test_files_without_a_cache_go_with_the_registry(registry, address, tmp_path):
    path = write_graph(tmp_path / "model.onnx", -2.0)
    with registry.recording("fleeting") as run:
        run.register(path, example_feed(path, pl.DataFrame([RAW]), 1))
    other = Registry(address, "mlflow-artifacts:/")
    file = other.onnx_path(other.newest("fleeting"))
    assert file.read_bytes() == path.read_bytes()
    del other
    assert not file.exists()


def test_old_runs_are_left_to_the_server_s_own_collector_and_not_found_again(registry):
    with registry.recording("old") as run:
        run.metrics({"loss": 1.0})
    soon = datetime.now(UTC) + timedelta(minutes=5)
    assert run.run_id in unregistered_runs(registry, soon)
    remove_runs(registry, [run.run_id])
    assert run.run_id not in unregistered_runs(registry, soon)
    assert registry.client.get_run(run.run_id).info.lifecycle_stage == "deleted"


def test_a_server_that_refuses_the_password_says_so_without_it(tmp_path):
    class Refusing(BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_error(401, "Unauthorized")

        do_GET = do_POST

        def log_message(self, *words):
            pass

    server = HTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"http://me:s3cret@127.0.0.1:{server.server_port}"
        with pytest.raises(LookupError, match="correct user and password in HEADWATER_TRACKING_URI") as error:
            Registry(address, tmp_path).champion("anything")
    finally:
        server.shutdown()
    assert "s3cret" not in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_an_object_store_that_is_not_there_is_one_line_with_the_remedy(address, tmp_path, monkeypatch):
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}",
        "AWS_ACCESS_KEY_ID": "me",
        "AWS_SECRET_ACCESS_KEY": "s3cret",
        "AWS_REGION": "eu-central-1",
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "note.txt").write_text("kept")
    registry = Registry(address, "s3://bucket/prefix")

    def keep() -> None:
        with registry.recording("unkept") as run:
            run.artifact(tmp_path / "note.txt")

    with pytest.raises(LookupError, match=r"artifacts at s3://bucket/prefix failed .*AWS_ENDPOINT_URL") as error:
        keep()
    assert len(str(error.value).splitlines()) == 1
