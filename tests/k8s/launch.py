"""Who launches runs, from a pod with the rights of a run: `python -m tests.k8s.launch JOB INSTANCE_YAML [--cancel]`.

Stands for the daemon and the webserver: it puts a run into the instance, has it launched and waits for its end.
"""

import os
import sys
import time
from pathlib import Path

import dagster as dg
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.launcher import LaunchRunContext
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin

from ml.settings import Settings
from tests.k8s import small_job

SECONDS = 240


def main(name: str, instance_yaml: str, *words: str) -> int:
    """Launch the job; print each event, and last its status. Returns 0 if the run succeeded."""
    folder = Path(os.environ["DAGSTER_HOME"])
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "dagster.yaml").exists():
        (folder / "dagster.yaml").write_text(instance_yaml)
    with dg.DagsterInstance.get() as instance:
        run = _launched(instance, name)
        if "--cancel" in words:
            _wait(lambda: any("it waits for ever" in e.user_message for e in instance.all_logs(run.run_id)))
            print("CANCELLED", instance.run_launcher.terminate(run.run_id), flush=True)
        ended = _wait(lambda: (r := instance.get_run_by_id(run.run_id)) and r.is_finished and r)
        for event in instance.all_logs(run.run_id):
            print(event.user_message or event.message, flush=True)
            error = getattr(event.dagster_event and event.dagster_event.event_specific_data, "error", None)
            if error is not None:
                print(error.to_string(), flush=True)
        print("RUN", run.run_id, ended.status.value, flush=True)
    return 0 if ended.is_success else 1


def _launched(instance: dg.DagsterInstance, name: str) -> dg.DagsterRun:
    pointer = ModuleCodePointer("tests.k8s.small_job", "defs", os.getcwd())
    entry = [sys.executable, "-m", "dagster"]
    repository = RepositoryPythonOrigin(sys.executable, pointer, Settings().image, entry)
    job = small_job.defs.resolve_job_def(name)
    run = instance.create_run_for_job(job, job_code_origin=JobPythonOrigin(name, repository))
    instance.run_launcher.launch_run(LaunchRunContext(run, None))
    return run


def _wait(look):
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        if seen := look():
            return seen
        time.sleep(0.5)
    raise SystemExit(f"not within {SECONDS} s")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
