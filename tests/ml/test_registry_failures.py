"""The registry is down, full, or someone else's: one clear line, no version, and nothing that was trained is lost."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import onnxruntime
import pytest
import torch

from ml.candidate import make_candidate
from ml.card import MARKDOWN_FILE, PAGE_FILE
from ml.recording import ONNX_FILE
from ml.registry import Registry
from tests.ml.synthetic import SPEC, training_rows

CPU = torch.device("cpu")
ROWS = training_rows(count=1500)
DISK = 12_000_000


def train(registry, out, say=lambda line: None):
    return make_candidate(SPEC, ROWS.lazy(), registry, {}, CPU, out, say)


def kept_whole(out):
    onnxruntime.InferenceSession(str(out / ONNX_FILE))
    return (out / MARKDOWN_FILE).exists() and (out / PAGE_FILE).exists()


def test_a_server_that_is_not_there_is_one_line_within_seconds_and_before_training(tmp_path):
    import mlflow.tracking

    mlflow.tracking.MlflowClient("http://127.0.0.1:9")  # slow imports are not what is timed
    said = []
    started = time.monotonic()
    address = r"registry http://me:\*\*\*@127.0.0.1:9 cannot be opened \(no answer"
    with pytest.raises(LookupError, match=address) as error:
        train(Registry("http://me:s3cret@127.0.0.1:9", tmp_path / "artifacts"), tmp_path, said.append)
    assert "s3cret" not in str(error.value)
    assert time.monotonic() - started < 60
    assert len(str(error.value).splitlines()) == 1
    assert not any(line.startswith("epoch") for line in said)


def test_a_folder_that_cannot_be_made_is_one_line_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LookupError, match="cannot be opened") as error:
        train(Registry(f"sqlite:///{tmp_path}/file/mlflow.db", tmp_path / "artifacts"), tmp_path)
    assert len(str(error.value).splitlines()) == 1


@pytest.fixture
def server(tmp_path):
    """MLflow's own server on loopback, over a database of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{tmp_path}/mlflow.db",
        "--default-artifact-root",
        str(tmp_path / "a"),
    ]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    child = subprocess.Popen(command, env=environment, start_new_session=True, **quiet)
    until = time.monotonic() + 120
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
            break
        except OSError:
            time.sleep(0.5)
    yield f"http://127.0.0.1:{port}", child
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def test_a_server_that_goes_down_while_training_costs_no_model_and_leaves_no_version(server, tmp_path):
    address, child = server

    def down(line):
        if line.startswith("fitted"):
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()

    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(LookupError, match=rf"failed \(no answer.*nothing is registered, the trained model .* {out}$"):
        train(Registry(address, tmp_path / "artifacts"), out, down)
    assert kept_whole(out)
    after = Registry(f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "artifacts")
    assert after.versions("lateness") == ()


def test_a_registry_whose_tables_are_gone_at_the_last_step_leaves_a_failed_run_and_no_version(empty_registry, tmp_path):
    import sqlite3

    with sqlite3.connect(tmp_path / "mlflow" / "mlflow.db") as database:
        database.execute(
            "CREATE TRIGGER full BEFORE INSERT ON model_versions BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
        )
    with pytest.raises(LookupError, match="nothing is registered, the trained model"):
        train(empty_registry, tmp_path)
    assert kept_whole(tmp_path)
    assert empty_registry.versions("lateness") == ()
    experiment = empty_registry.client.get_experiment_by_name("lateness").experiment_id
    (run,) = empty_registry.client.search_runs([experiment])
    assert run.info.status == "FAILED"


def test_a_disk_that_is_full_of_artifacts_leaves_the_model_where_it_was_trained(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(disk)], capture_output=True)
    if done.returncode:
        pytest.skip(f"cannot mount a file system: {done.stderr.decode().strip()}")
    try:
        registry = Registry(f"sqlite:///{tmp_path}/mlflow.db", disk / "artifacts")

        def fill(line):
            if line.startswith("fitted"):
                (disk / "ballast").write_bytes(b"\0" * (shutil.disk_usage(disk).free - 30_000))

        out = tmp_path / "out"
        out.mkdir()
        with pytest.raises(LookupError, match=rf"No space left on device.*nothing is registered.*{out}$"):
            train(registry, out, fill)
        assert kept_whole(out)
        assert registry.versions("lateness") == ()
        experiment = registry.client.get_experiment_by_name("lateness").experiment_id
        (run,) = registry.client.search_runs([experiment])
        assert run.info.status == "FAILED"
        (disk / "ballast").unlink()
        assert train(registry, out).version == "1"
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_name_that_someone_else_registered_is_refused_before_training(empty_registry, tmp_path):
    empty_registry.client.create_registered_model("lateness")
    said = []
    with pytest.raises(LookupError, match=r"'lateness' that Headwater did not make; rename .* tag headwater=model$"):
        train(empty_registry, tmp_path, said.append)
    assert not any(line.startswith("epoch") for line in said)
    assert empty_registry.versions("lateness") == ()
    empty_registry.client.set_registered_model_tag("lateness", "headwater", "model")
    with empty_registry.recording("lateness"):
        pass


def test_a_name_from_before_the_tag_is_ours_if_its_versions_are(empty_registry):
    empty_registry.client.create_registered_model("lateness")
    empty_registry.client.create_model_version("lateness", "file:///x", tags={"training_set_provenance": "{}"})
    with empty_registry.recording("lateness"):
        pass


def test_what_we_register_bears_our_tag(empty_registry, tmp_path):
    train(empty_registry, tmp_path)
    assert empty_registry.client.get_registered_model("lateness").tags == {"headwater": "model"}
