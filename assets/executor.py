"""Where the steps of a run are executed: in processes of this machine, or as Kubernetes Jobs.

Here: the executor of each environment. Not here: what a step's pod gets (assets/step_pods.py) and how runs are
launched (the instance's dagster.yaml).
"""

import dagster as dg

from assets.step_pods import SMALL_POD
from ml.settings import Settings

MAX_STEPS = 2


def executor_for(settings: Settings) -> dg.ExecutorDefinition:
    """Return the executor of the environment that the settings name."""
    return _in_processes() if settings.env == "local" else _in_jobs()


def _in_processes() -> dg.ExecutorDefinition:
    """Steps import the definitions once and fork, which is much faster than importing in each."""
    preload = {"forkserver": {"preload_modules": ["assets.definitions"]}}
    return dg.multiprocess_executor.configured({"start_method": preload, "max_concurrent": MAX_STEPS})


def _in_jobs() -> dg.ExecutorDefinition:
    """Each step is a Job; image, home, secrets and rights are those of the run's own, from the launcher's settings."""
    from dagster_k8s import k8s_job_executor

    return k8s_job_executor.configured(
        {
            "max_concurrent": MAX_STEPS * 4,
            "step_k8s_config": SMALL_POD,
            "enable_owner_references": True,  # a run's pod that is gone leaves no step behind
        }
    )
