"""The chart as the real helm renders it."""

import json
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "headwater"
HELM = ROOT / ".tools" / "helm"
VALUES = sorted(path.name for path in CHART.glob("values*.yaml"))
NAMESPACE, RELEASE = "data", "hw"


def helm(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(HELM), *words], capture_output=True, text=True, timeout=60)


def rendered(values: str = "values.yaml", **changed: Any) -> list[dict[str, Any]]:
    """Return the manifests of a values file, some values changed: `triton={"replicas": 3}`."""
    return _rendered(values, json.dumps(changed))


def refusal(**changed: Any) -> str:
    """Return what helm says to values that it refuses."""
    done = helm("template", RELEASE, str(CHART), "-n", NAMESPACE, *_changes(json.dumps(changed)))
    assert done.returncode != 0, "it was not refused"
    return done.stderr


@cache
def _rendered(values: str, changed: str) -> list[dict[str, Any]]:
    done = helm("template", RELEASE, str(CHART), "-n", NAMESPACE, "-f", str(CHART / values), *_changes(changed))
    assert done.returncode == 0, done.stderr
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


def _changes(changed: str) -> list[str]:
    told: Mapping[str, Any] = json.loads(changed)
    return [word for name, value in told.items() for word in ("--set-json", f"{name}={json.dumps(value)}")]


def named(manifests: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (found,) = [m for m in manifests if (m["kind"], m["metadata"]["name"]) == (kind, f"{RELEASE}-{name}")]
    return found


def of_kind(manifests: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [manifest for manifest in manifests if manifest["kind"] == kind]
