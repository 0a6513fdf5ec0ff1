"""Processes of several pods find each other, in order, and the cause of a failure is the status of all."""

import os
import subprocess
import sys

import pytest

from ml.torchrun import arguments
from serving.triton_files import free_ports

FAILS = """
import os, signal, sys, time
if os.environ["RANK"] == "1":
    sys.exit(75) if sys.argv[1] == "75" else os.kill(os.getpid(), signal.SIGKILL) if sys.argv[1] == "kill" else None
time.sleep(20 if sys.argv[1] != "0" else 0)
"""
SAYS = "import os; print('rank', os.environ['RANK'], 'of', os.environ['WORLD_SIZE'], 'in pod', os.environ['POD'])"


def launch(script, *words, **env):
    command = [sys.executable, "-m", "ml.torchrun", *words[:-1], str(script), *words[-1:]]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1", **env}, **pipes)


@pytest.mark.parametrize(("how", "status"), [("75", 75), ("kill", 137), ("0", 0)])
def test_the_status_is_that_of_the_process_that_failed_first(tmp_path, how, status):
    script = tmp_path / "fails.py"
    script.write_text(FAILS)
    launched = launch(script, "--standalone", "--nproc-per-node=2", how)
    _, errors = launched.communicate(timeout=60)
    assert launched.returncode == status, errors


def test_rank_0_is_in_pod_0_whichever_pod_is_first(tmp_path):
    script, (port,) = tmp_path / "says.py", free_ports(1)
    script.write_text(SAYS)
    pods = []
    for index in ("1", "0"):
        words = ["--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", "--rdzv-id=a", "--max-restarts=0"]
        words += [f"--rdzv-endpoint=127.0.0.1:{port}", "--rdzv-conf=join_timeout=60,read_timeout=60"]
        words += [f"--local-addr=127.0.0.{int(index) + 1}", "x"]
        pods.append(launch(script, *words, POD=index, JOB_COMPLETION_INDEX=index))
    said = [pod.communicate(timeout=90) for pod in pods]
    assert [out.strip() for out, _ in said] == ["rank 1 of 2 in pod 1", "rank 0 of 2 in pod 0"], said


def test_only_the_first_pod_of_a_job_is_where_all_meet():
    words = ["--nnodes=2", "--rdzv-conf=join_timeout=9", "-m", "ml.train"]
    assert arguments(words, {}) == words
    assert arguments(words, {"JOB_COMPLETION_INDEX": "0"})[1] == "--rdzv-conf=join_timeout=9,is_host=true"
    assert arguments(words, {"JOB_COMPLETION_INDEX": "1"})[1] == "--rdzv-conf=join_timeout=9,is_host=false"
