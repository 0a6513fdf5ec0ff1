"""The Jobs that dagster-k8s makes of our definitions, caught on their way to a cluster."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import create_execution_plan
from dagster._core.execution.context.system import PlanData, PlanOrchestrationContext
from dagster._core.execution.context_creation_job import create_context_free_log_manager
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.init import InitExecutorContext
from dagster._core.executor.step_delegating import StepHandlerContext
from dagster._core.origin import DEFAULT_DAGSTER_ENTRY_POINT, JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.system_config.objects import ResolvedRunConfig
from dagster._grpc.types import ExecuteStepArgs

from tests.manifests import plain

KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{name: none, cluster: {server: "http://127.0.0.1:9"}}]
users: [{name: none, user: {}}]
contexts: [{name: none, context: {cluster: none, user: none}}]
current-context: none
"""


class Caught:
    """Takes the place of dagster-k8s' client and keeps what it would send."""

    def __init__(self) -> None:
        self.manifests: list[dict[str, Any]] = []

    def create_namespaced_job_with_retries(self, body: Any, namespace: str, **_: Any) -> None:
        self.manifests.append({**plain(body), "apiVersion": "batch/v1", "kind": "Job"})


@contextmanager
def instance_with(launcher: Mapping[str, Any], folder: Path) -> Iterator[dg.DagsterInstance]:
    """An instance whose runs are launched as Jobs, as `launcher` configures it."""
    (folder / "kubeconfig").write_text(KUBECONFIG)
    config = {**launcher, "load_incluster_config": False, "kubeconfig_file": str(folder / "kubeconfig")}
    place = {"module": "dagster_k8s", "class": "K8sRunLauncher", "config": config}
    with dg.DagsterInstance.local_temp(str(folder), overrides={"run_launcher": place}) as instance:
        yield instance


def origin_of(job: dg.JobDefinition, image: str) -> JobPythonOrigin:
    """Where a code server says that the job comes from."""
    repository = RepositoryPythonOrigin(
        executable_path=sys.executable,
        code_pointer=ModuleCodePointer("assets.definitions", "defs"),
        container_image=image,
        entry_point=DEFAULT_DAGSTER_ENTRY_POINT,
    )
    return JobPythonOrigin(job.name, repository)


def run_job(job: dg.JobDefinition, instance: dg.DagsterInstance, image: str) -> dict[str, Any]:
    """Return the Job of a run."""
    launcher, caught = instance.run_launcher, Caught()
    launcher._api_client = caught
    run = instance.create_run_for_job(job, job_code_origin=origin_of(job, image), tags=dict(job.run_tags))
    launcher._launch_k8s_job_with_args("dagster-run-" + run.run_id, ["dagster", "api", "execute_run"], run)
    return caught.manifests[0]


def step_jobs(job: dg.JobDefinition, instance: dg.DagsterInstance, image: str) -> dict[str, dict[str, Any]]:
    """Return the Job of each step of a run, by step."""
    run = instance.create_run_for_job(job, job_code_origin=origin_of(job, image))
    defined, plan = job.executor_def, create_execution_plan(job)
    config = ResolvedRunConfig.build(job).execution.execution_engine_config
    executor = defined.executor_creation_fn(InitExecutorContext(InMemoryJob(job), defined, config, instance))
    handler, caught = executor._step_handler, Caught()
    handler._api_client = caught
    data = PlanData(InMemoryJob(job), run, instance, plan, raise_on_error=True, retry_mode=RetryMode.DISABLED)
    context = PlanOrchestrationContext(data, create_context_free_log_manager(instance, run), executor, None)
    for step in plan.steps:
        args = ExecuteStepArgs(origin_of(job, image), run.run_id, [step.key], instance_ref=instance.get_ref())
        list(handler.launch_step(StepHandlerContext(instance, context, [step], args, run)))
    return dict(zip((step.key for step in plan.steps), caught.manifests, strict=True))
