"""What a model's training pods get is declared with it, checked at once, and no part of what it learns."""

import pytest
from pydantic import ValidationError

from ml.memory import available_bytes
from ml.pod_resources import PodResources, Toleration, amount, doubled
from ml.search_report import snippet
from tests.ml.synthetic import SPEC

LARGE = PodResources(
    gpus=4, cpu="16", memory="64Gi", node_selector={"pool": "gpu"}, tolerations=(Toleration(key="gpu"),)
)


def with_resources(resources, spec=SPEC):
    return spec.model_copy(update={"training": spec.training.model_copy(update={"resources": resources})})


def test_models_that_differ_in_resources_only_are_of_one_recipe():
    assert with_resources(LARGE).recipe == SPEC.recipe
    assert with_resources(LARGE) != SPEC
    assert len({with_resources(LARGE), with_resources(LARGE), SPEC}) == 2


def test_more_memory_after_a_kill_does_not_cost_the_checkpoint():
    assert with_resources(LARGE).model_dump() == SPEC.model_dump()


def test_a_searched_spec_is_told_with_the_resources_that_it_has():
    (line,) = (line for line in snippet(with_resources(PodResources(gpus=2))) if line.startswith("training="))
    assert "resources=PodResources(gpus=2," in line
    assert "resources" not in " ".join(snippet(SPEC))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"gpus": 0.5}, "gpus"),
        ({"gpus": -1}, "gpus"),
        ({"pods": 0}, "pods"),
        ({"memory": "8 GB"}, "memory"),
        ({"cpu": "0"}, "cannot run"),
        ({"memory": "1Gi", "shared_memory": "1024Mi"}, "counts towards memory 1Gi and must be less"),
        ({"tolerations": ({"key": "gpu", "operator": "Equal"},)}, "a value goes with the operator Equal"),
        ({"gpu": 1}, "gpu"),
    ],
)
def test_what_no_cluster_would_take_is_refused_where_it_is_written(given, message):
    with pytest.raises(ValidationError, match=message):
        PodResources(**given)


@pytest.mark.parametrize(
    ("quantity", "expected", "twice"),
    [
        ("500m", 0.5, "1000m"),
        ("2", 2, "4"),
        ("1.5Gi", 1.5 * 2**30, "3Gi"),
        ("8G", 8e9, "16G"),
        ("64Mi", 2**26, "128Mi"),
    ],
)
def test_quantities_are_those_of_kubernetes(quantity, expected, twice):
    assert amount(quantity) == expected
    assert doubled(quantity) == twice


def test_threads_keep_to_the_cpus_of_the_pod():
    assert PodResources(cpu="16", gpus=4).threads == 4
    assert PodResources(cpu="500m").threads == 1


def test_memory_that_can_be_had_is_what_the_container_leaves(tmp_path):
    (tmp_path / "memory.max").write_text(f"{2**28}\n")
    (tmp_path / "memory.current").write_text(f"{2**27}\n")
    (tmp_path / "memory.stat").write_text(f"anon 1\ninactive_file {2**26}\n")
    assert available_bytes(tmp_path) == 2**27 + 2**26
    (tmp_path / "memory.max").write_text("max\n")
    assert available_bytes(tmp_path) > 2**28
    assert available_bytes(tmp_path / "nowhere") > 2**28
