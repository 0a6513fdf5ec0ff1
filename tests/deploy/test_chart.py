"""The Helm chart: valid by Kubernetes' schemas and our rules with every values file, and what it promises."""

import ast
import sqlite3
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from dagster._config import process_config
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster_k8s import K8sRunLauncher
from dagster_postgres import DagsterPostgresStorage

from deploy.manifest_rules import containers, pod_spec, problems
from ml.feature_views import load_feature_views
from ml.settings import Settings
from tests.deploy.chart import CHART, ROOT, VALUES, helm, named, of_kind, refusal, rendered

VERSION = "1.36"
SERVERS = ("Deployment", "StatefulSet")


@pytest.mark.parametrize("values", VALUES)
def test_helm_finds_nothing_to_complain_of(values):
    done = helm("lint", "--strict", str(CHART), "-f", str(CHART / values))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("values", VALUES)
def test_every_manifest_is_valid_and_keeps_our_rules(values):
    manifests = rendered(values)
    assert len(manifests) > 40
    for manifest in manifests:
        kubernetes_validate.validate(manifest, VERSION, strict=True)
    assert [told for manifest in manifests for told in problems(manifest)] == []
    names = [(m["kind"], m["metadata"]["name"]) for m in manifests]
    assert len(names) == len(set(names))


def test_a_misspelt_field_would_be_found():
    deployment = yaml.safe_load(yaml.safe_dump(named(rendered(), "Deployment", "triton")))
    deployment["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, VERSION, strict=True)


@pytest.mark.parametrize("values", VALUES)
def test_what_is_named_is_there(values):
    manifests = rendered(values)
    names = {(m["kind"], m["metadata"]["name"]) for m in manifests}
    given = {
        "headwater-object-store",
        "headwater-stores",
        "headwater-mlflow",
        "headwater-login",
        "headwater-triton-tls",
    }
    for manifest in manifests:
        spec = pod_spec(manifest) or {}
        for volume in spec.get("volumes", []):
            wanted = [
                ("ConfigMap", volume.get("configMap", {}).get("name")),
                ("Secret", volume.get("secret", {}).get("secretName")),
                ("PersistentVolumeClaim", volume.get("persistentVolumeClaim", {}).get("claimName")),
            ]
            assert [w for w in wanted if w[1] and w not in names and w[1] not in given] == []
        for container in [*spec.get("initContainers", []), *spec.get("containers", [])]:
            mounted = {mount["name"] for mount in container.get("volumeMounts", [])}
            claims = {claim["metadata"]["name"] for claim in manifest["spec"].get("volumeClaimTemplates", [])}
            assert mounted <= {volume["name"] for volume in spec.get("volumes", [])} | claims
            for source in container.get("envFrom", []):
                ((kind, reference),) = source.items()
                name = reference["name"]
                assert ({"configMapRef": "ConfigMap", "secretRef": "Secret"}[kind], name) in names or name in given
        account = spec.get("serviceAccountName")
        assert account is None or ("ServiceAccount", account) in names


@pytest.mark.parametrize("values", VALUES)
def test_each_service_reaches_the_pods_and_ports_that_it_means(values):
    manifests = rendered(values)
    servers = [m for m in manifests if m["kind"] in SERVERS]
    for service in of_kind(manifests, "Service"):
        selector = service["spec"]["selector"].items()
        found = [m for m in servers if selector <= m["spec"]["template"]["metadata"]["labels"].items()]
        assert len(found) == 1, service["metadata"]["name"]
        ports = [p for c in pod_spec(found[0])["containers"] for p in c.get("ports", [])]
        open_ports = {p["containerPort"] for p in ports} | {p["name"] for p in ports}
        assert all(port.get("targetPort", port["port"]) in open_ports for port in service["spec"]["ports"])


def test_secrets_lie_in_secrets_only_and_are_made_anew_each_time_nobody_has_them_yet():
    stores = named(rendered(), "Secret", "stores")["stringData"]
    password = stores["HEADWATER_DAGSTER_DB"].split(":")[2].split("@")[0]
    assert len(password) == 40
    assert named(rendered(), "Secret", "postgresql")["stringData"]["DAGSTER_DB_PASSWORD"] == password
    others = yaml.safe_dump([m for m in rendered() if m["kind"] != "Secret"])
    assert password not in others
    assert password not in yaml.safe_dump(rendered(home={"size": "1Gi"}))


@pytest.mark.parametrize("values", VALUES)
def test_dagster_takes_the_instance_s_configuration(values, tmp_path, monkeypatch):
    monkeypatch.setenv("HEADWATER_DAGSTER_DB", "postgresql://dagster:x@localhost/dagster")
    told = named(rendered(values), "ConfigMap", "dagster")["data"]
    (tmp_path / "dagster.yaml").write_text(told["dagster.yaml"])
    reference = InstanceRef.from_dir(str(tmp_path))  # reads what is Dagster's own by its schema
    for data, kind in (
        (reference.run_launcher_data, K8sRunLauncher),
        (reference.storage_data, DagsterPostgresStorage),
        (reference.compute_logs_data, LocalComputeLogManager),
    ):
        assert (data.module_name.split(".")[0], data.class_name) == (kind.__module__.split(".")[0], kind.__name__)
        read = process_config(kind.config_type(), yaml.safe_load(data.config_yaml))
        assert read.success, read.errors
    root = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    ours = yaml.safe_load(told["dagster.yaml"])
    assert ours["concurrency"]["pools"] == root["concurrency"]["pools"]
    assert ours["telemetry"] == root["telemetry"]
    assert yaml.safe_load(told["workspace.yaml"])["load_from"][0]["grpc_server"]["host"] == "hw-code"


@pytest.mark.parametrize("name", ["settings", "training"])
def test_settings_are_those_that_headwater_has(name):
    told = named(rendered("values-gpu.yaml"), "ConfigMap", name)["data"]
    known = {f"HEADWATER_{field.upper()}" for field in Settings.model_fields}
    assert {key for key in told if key.startswith("HEADWATER_")} <= known


def test_commands_that_pods_run_exist():
    modules = [
        word
        for manifest in rendered()
        for container in (pod_spec(manifest) or {}).get("containers", [])
        for command in (
            container.get("command", []),
            *(probe.get("exec", {}).get("command", []) for key, probe in container.items() if key.endswith("Probe")),
        )
        for flag, word in pairwise(command)
        if flag == "-m"
    ]
    assert {"serving.replica", "serving.ready", "serving.server", "assets.definitions"} <= set(modules)
    for module in modules:
        ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text())


def test_the_code_server_first_makes_what_dbt_declares(tmp_path):
    (first,) = pod_spec(named(rendered(), "Deployment", "code"))["initContainers"]
    named_values = {variable["name"]: variable["value"] for variable in first["env"]}
    assert named_values["HEADWATER_DBT_LAKE"] == "/var/lib/headwater/lake"
    environment = {
        **named_values,
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "TMPDIR": str(tmp_path),
        "HEADWATER_HOME": str(tmp_path / "home"),
        "DO_NOT_TRACK": "true",
    }
    subprocess.run(first["command"], cwd=ROOT, env=environment, check=True, timeout=120)
    views = load_feature_views(Settings(home=tmp_path / "home").dbt_target / "manifest.json")
    assert "aircraft_state" in [view.name for view in views]


def test_the_dbt_output_of_the_values_reaches_every_platform_pod():
    settings = named(rendered(dbt={"output": "spark"}), "ConfigMap", "settings")["data"]
    assert settings["HEADWATER_DBT_OUTPUT"] == "spark"
    assert named(rendered(), "ConfigMap", "settings")["data"]["HEADWATER_DBT_OUTPUT"] == "local"
    (first,) = pod_spec(named(rendered(), "Deployment", "code"))["initContainers"]
    assert '--target "${HEADWATER_DBT_OUTPUT:-local}"' in first["command"][-1]


def test_an_upgrade_migrates_both_databases_and_no_argument_holds_a_password(tmp_path):
    (container,) = pod_spec(named(rendered(), "Job", "migrate"))["containers"]
    address = f"sqlite:///{tmp_path / 'mlflow.db'}"
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}")
    (tmp_path / "bin").mkdir()
    for program in ("dagster", "python"):  # each writes down what it was called with
        real = Path(sys.executable).parent / program
        said = f'#!/bin/sh\necho "{program} $*" >> {tmp_path}/calls\nexec {real} "$@"\n'
        (tmp_path / "bin" / program).write_text(said)
        (tmp_path / "bin" / program).chmod(0o755)
    environment = {
        "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "DAGSTER_HOME": str(tmp_path),
        "MLFLOW_BACKEND_STORE_URI": address,
    }
    subprocess.run(container["command"], cwd=ROOT, env=environment, check=True, timeout=120)
    calls = (tmp_path / "calls").read_text()
    assert calls.startswith("dagster instance migrate\npython -c ")
    assert address not in calls
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        assert database.execute("select count(*) from alembic_version").fetchone() == (1,)


@pytest.mark.parametrize("name", ["postgresql", "redis", "serving"])
def test_generated_secrets_outlive_an_uninstalled_release_as_its_data_do(name):
    kept = {"helm.sh/resource-policy": "keep"}
    assert named(rendered(), "Secret", name)["metadata"]["annotations"] == kept
    assert named(rendered(), "PersistentVolumeClaim", "home")["metadata"]["annotations"] == kept


def test_serving_outlives_training_when_nodes_are_short_and_a_second_release_can_share_the_classes():
    training, serving = (named(rendered(), "PriorityClass", name) for name in ("training", "serving"))
    assert training["value"] < serving["value"]
    assert training["preemptionPolicy"] == "Never"
    assert of_kind(rendered(priorityClasses={"create": False}), "PriorityClass") == []


def test_gpus_are_whole_and_shared_memory_is_memory():
    (container, _) = pod_spec(named(rendered("values-gpu.yaml"), "Deployment", "triton"))["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    volumes = pod_spec(named(rendered(), "Deployment", "triton"))["volumes"]
    assert {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}} in volumes


def test_a_late_replica_has_time_to_load_and_an_ending_one_to_drain():
    spec = pod_spec(named(rendered(triton={"startSeconds": 600, "drainSeconds": 20}), "Deployment", "triton"))
    startup = spec["containers"][0]["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] == 600
    assert spec["terminationGracePeriodSeconds"] == 50
    assert spec["containers"][0]["command"][-2:] == ["--drain", "20"]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"triton": {"replicas": 0}}, "replicas"),
        ({"triton": {"replica": 2}}, "replica"),
        ({"triton": {"gpus": 0.5}}, "gpus"),
        ({"user": 0}, "user"),
        ({"home": {"accessMode": "ReadOnlyMany"}}, "accessMode"),
        ({"postgresql": {"enabled": False}}, "name your server's Secrets"),
        ({"redis": {"enabled": False}}, "HEADWATER_ONLINE_STORE"),
        ({"artifacts": {"url": "s3://bucket/mlflow"}}, "lake.secret"),
        ({"lake": {"url": "gs://bucket"}}, "url"),
        ({"dbt": {"output": "snowflake"}}, "output"),
        ({"dbt": {"output": "spark"}, "lake": {"url": "s3://bucket/lake"}}, "leave lake.url empty"),
        ({"access": {"enabled": True}}, "set access.issuerUrl"),
        (
            {"access": {"enabled": True, "issuerUrl": "https://a", "secret": "b", "host": "c"}},
            "name the groups of access.operators",
        ),
        ({"settings": {"HEADWATER_TRAIN_SECONDS": {"a": 1}}}, "settings"),
        ({"image": {"platform": {"tag": "latest"}}}, "/image/platform/tag"),
        ({"image": {"serving": {"digest": "sha256:abc"}}}, "/image/serving/digest"),
        ({"redis": {"image": "redis:latest"}}, "/redis/image"),
        ({"redis": {"image": "host:5000/redis"}}, "/redis/image"),
        ({"redis": {"image": "redis:7@sha256:abc"}}, "/redis/image"),
        ({"triton": {"proxy": {"image": f"haproxy:latest@sha256:{'0' * 64}"}}}, "/triton/proxy/image"),
    ],
)
def test_wrong_values_are_refused_and_named(changed, told):
    assert told in refusal(**changed)


def images(manifests):
    return {c["image"] for m in manifests for c in containers(pod_spec(m) or {})}


def test_a_digest_fixes_our_images_wherever_they_are_named():
    digests = {name: f"sha256:{n * 64}" for name, n in (("platform", "a"), ("serving", "b"))}
    manifests = rendered(image={name: {"digest": digest} for name, digest in digests.items()})
    platform = f"headwater-platform:0.1.0@{digests['platform']}"
    assert {i for i in images(manifests) if "headwater" in i} == {
        platform,
        f"headwater-serving:0.1.0@{digests['serving']}",
    }
    assert named(manifests, "ConfigMap", "settings")["data"]["HEADWATER_IMAGE"] == platform
    dagster = yaml.safe_load(named(manifests, "ConfigMap", "dagster")["data"]["dagster.yaml"])
    assert dagster["run_launcher"]["config"]["job_image"] == platform
    assert [told for manifest in manifests for told in problems(manifest)] == []


def test_images_of_others_take_a_digest():
    pinned = f"postgres:16.10-alpine@sha256:{'c' * 64}"
    assert pinned in images(rendered(postgresql={"image": pinned}))
