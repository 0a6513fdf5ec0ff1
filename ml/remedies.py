"""What people can do about a failure, in the words of where they are: beside the Makefile, or in a cluster without one.

The one place that knows both. Messages are written with `make` and go through `here`; whether Triton is ours to start,
this module says. It reads the environment itself, with the standard library alone: errors are told inside Triton and
by clients, too, where no settings were read.
"""

import os
import re

# What a target of the Makefile runs, as a pod of the platform can run it, and the words that its variables become.
COMMANDS: dict[str, tuple[str, dict[str, str]]] = {
    "approve": ("assets.approve", {"NAME": "", "VERSION": "", "STEP": "", "WHY": "--why"}),
    "drift": ("assets.drift", {"NAME": "", "MONTH": "", "VERSION": ""}),
    "mlflow": ("", {}),
    "model": ("assets.model", {"NAME": ""}),
    "monitor": ("assets.monitor", {"NAME": "", "PAGE": "--page"}),
    "overrides": ("assets.override", {}),
    "promote": ("assets.rollout promote", {"NAME": "", "VERSION": "", "WHY": "--why"}),
    "quarantine": ("assets.quarantine", {"TABLE": "", "MONTH": "--partition"}),
    "rollback": ("assets.rollout rollback", {"NAME": "", "WHY": "--why"}),
    "status": ("serving.rollout_status", {}),
    "table": ("assets.table", {"NAME": "", "MONTH": "--month"}),
    "trace": ("assets.trace", {"ID": "", "COLUMN": "--column"}),
    "vacuum": ("assets.vacuum", {}),
}
_PLACES = {"mlflow": "MLflow's page (kubectl port-forward)"}  # what is a server there and no command
_VARIABLE = r'[A-Z]+=(?:"[^"]*"|<[^>]*>|[^\s,;:")]+)'
_COMMAND = re.compile(rf"\bmake ({'|'.join(COMMANDS)})\b((?: {_VARIABLE})*)")
_WHERE = " (in a pod of the code server)"
_PODS = "kubectl get pods -l app.kubernetes.io/component=triton"


def in_cluster() -> bool:
    """Return whether this process is a pod of ours, which has no Makefile and starts no server."""
    return os.environ.get("HEADWATER_ENV") == "k8s"


def here(text: str) -> str:
    """Return a text whose `make` commands are those that can be run from here."""
    if not in_cluster():
        return text
    told = _COMMAND.sub(lambda found: _in_pod(found[1], found[2]), text)
    return told + _WHERE if "python -m " in told and told != text else told


def start_triton(url: str) -> str:
    """Return what to do when no Triton answers at `url`."""
    if in_cluster():
        return f"see that its pods are ready: {_PODS}"
    if _others() or url.rpartition(":")[0] not in ("127.0.0.1", "localhost", "[::1]"):
        return "see that it runs there, or name another: HEADWATER_TRITON_URL, --url"
    return "start it with make start"


def recover_triton() -> str:
    """Return what to do when a model does not answer that is deployed."""
    if in_cluster() or _others():
        return f"its replica loads it anew by itself; if it stays so, delete its pod ({_PODS})"
    return "run make start, which recovers it"


def restart_triton() -> str:
    """Return what starts Triton anew."""
    if in_cluster() or _others():
        return "delete its pods: kubectl delete pods -l app.kubernetes.io/component=triton"
    return "run make start"


def deploy(model: str, command: str = "make demo") -> str:
    """Return what to do when nothing of a model is deployed; `command` does it beside the Makefile."""
    if in_cluster():
        return f"materialize {model}/deployment, and what it stands on, in the Dagster UI"
    return f"run {command}"


def declare() -> str:
    """Return what makes a change of dbt's YAML known."""
    return "build the image anew and upgrade the release" if in_cluster() else "run make setup"


def install(command: str = "make setup") -> str:
    """Return what to do when the installation lacks something that `command` installs beside the Makefile."""
    return "the image lacks it: build it anew" if in_cluster() else f"run {command}"


def configure_dagster() -> str:
    """Return what puts Dagster's records where the settings say."""
    if in_cluster():
        return "set DAGSTER_HOME to the folder of the chart's dagster.yaml (/opt/dagster)"
    return "run make setup"


def publish() -> str:
    """Return what makes online rows where there are none."""
    return (
        "materialize published/<view> in the Dagster UI" if in_cluster() else "publish the features first (make demo)"
    )


def parse() -> str:
    """Return what makes dbt's manifest."""
    if in_cluster():
        return "restart the code server, which makes it: kubectl rollout restart deployment/<release>-code"
    return "run make setup"


def _others() -> bool:
    """Whether the Triton that is asked is one that others start."""
    return bool(os.environ.get("HEADWATER_TRITON_URL") or os.environ.get("HEADWATER_TRITON_REPLICAS"))


def _in_pod(target: str, given: str) -> str:
    module, words = COMMANDS[target]
    if not module:
        return _PLACES[target]
    told = [f"python -m {module}"]
    for variable in re.findall(_VARIABLE, given):
        name, _, value = variable.partition("=")
        told += [word for word in (words[name], value) if word] if name in words else []
    return " ".join(told)
