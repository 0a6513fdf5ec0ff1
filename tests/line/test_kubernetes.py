"""In a cluster: the same lineage, each run and each step a Job that Kubernetes and our rules take."""

import dagster as dg
import pytest
import yaml

from assets.definitions import definitions_for
from assets.executor import executor_for
from assets.resources import platform_for
from assets.trainer import SubprocessTrainer, trainer_for
from ml.settings import Settings
from tests.deploy.chart import VALUES, named, rendered
from tests.k8s_jobs import instance_with, run_job, step_jobs
from tests.manifests import faults

IMAGE = "registry.example/headwater:0.1.0"
NEEDED = {
    "image": IMAGE,
    "namespace": "ml",
    "home_claim": "home",
    "online_store": "redis://redis:6379/0",
    "tracking_uri": "http://mlflow:5000",
}


def launcher():
    """The launcher's settings in the chart."""
    text = named(rendered(), "ConfigMap", "dagster")["data"]["dagster.yaml"]
    return yaml.safe_load(text)["run_launcher"]["config"]


def settings(line, **more):
    return Settings(**{"env": "k8s", "home": line.home, **NEEDED, **more})


@pytest.fixture(scope="module")
def definitions(line):
    return definitions_for(platform_for(settings(line)))


@pytest.fixture(scope="module")
def instance(tmp_path_factory):
    with instance_with(launcher(), tmp_path_factory.mktemp("instance")) as made:
        yield made


@pytest.fixture(scope="module")
def lineage(definitions):
    return definitions.resolve_implicit_global_asset_job_def()


@pytest.fixture(scope="module")
def steps(lineage, instance):
    return step_jobs(lineage, instance, IMAGE)


def limits(job):
    (container,) = job["spec"]["template"]["spec"]["containers"]
    return container["resources"]["limits"]


def test_the_lineage_is_the_local_one(definitions, line):
    here, there = definitions_for(line.platform).resolve_asset_graph(), definitions.resolve_asset_graph()
    assert here.get_all_asset_keys() == there.get_all_asset_keys()
    assert here.asset_check_keys == there.asset_check_keys


def test_a_run_is_a_job_that_kubernetes_and_our_rules_take(definitions, lineage, instance):
    for job in (lineage, definitions.resolve_job_def("flight_delay_retrain")):
        assert faults(run_job(job, instance, IMAGE)) == [], job.name


def test_every_step_is_a_job_that_kubernetes_and_our_rules_take(steps):
    found = {step: wrong for step, manifest in steps.items() if (wrong := faults(manifest))}
    assert found == {}
    for manifest in steps.values():
        (container,) = manifest["spec"]["template"]["spec"]["containers"]
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounts["home"] == "/var/lib/headwater"


def test_steps_that_hold_a_year_of_rows_get_more_than_those_that_watch(steps):
    assert limits(steps["flight_delay__training_set"])["memory"] == "8Gi"
    assert limits(steps["dbt_build_2013_01_2013_12"])["memory"] == "8Gi"
    assert limits(steps["flight_delay__model"])["memory"] == "2Gi"


def test_the_ui_says_what_training_gets(definitions):
    graph = definitions.resolve_asset_graph()
    metadata = graph.get(dg.AssetKey(["flight_delay", "model"])).metadata
    assert "2 CPUs, 8Gi memory" in str(metadata["trained on, in a cluster"])


@pytest.mark.parametrize("values", VALUES)
def test_what_the_chart_gives_is_all_that_the_platform_needs(values, line, monkeypatch):
    for name, value in named(rendered(values), "ConfigMap", "settings")["data"].items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HEADWATER_HOME", str(line.home))
    monkeypatch.setenv("HEADWATER_ONLINE_STORE", "redis://redis:6379/0")  # from a Secret
    assert platform_for(Settings()).settings.pod_user > 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"image": ""}, "HEADWATER_IMAGE is not set: training pods run it"),
        ({"namespace": "", "home_claim": ""}, "HEADWATER_NAMESPACE is not set.*HEADWATER_HOME_CLAIM is not set"),
        ({"online_store": ""}, "HEADWATER_ONLINE_STORE is a SQLite file, .*redis://"),
        ({"tracking_uri": "sqlite:///mlflow.db"}, "HEADWATER_TRACKING_URI is no http:// address.*http://mlflow:5000"),
        ({"tracking_uri": "http://u:p@mlflow:5000"}, "HEADWATER_TRACKING_URI holds a password.*HEADWATER_POD_SECRETS"),
        ({"tracking_uri": "postgresql://u:p@db/mlflow"}, "HEADWATER_TRACKING_URI is no http:// address"),
    ],
)
def test_what_only_one_machine_could_use_is_refused_in_a_cluster(line, given, message):
    with pytest.raises(LookupError, match=message):
        platform_for(settings(line, **given))


def test_locally_nothing_needs_a_cluster(line):
    assert isinstance(trainer_for(line.settings), SubprocessTrainer)
    assert executor_for(line.settings).name == "multiprocess"
    assert executor_for(settings(line)).name == "k8s"
