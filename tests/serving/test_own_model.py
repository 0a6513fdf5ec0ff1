"""A version as a Triton model of its own: answers as in the router, and comes and goes with the plan."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from serving.log_reader import log_schema, read_new
from serving.own_model import backend_of, keep_backend, kept_backend, own_config, write_own
from serving.plan import Plan
from serving.process import recall
from serving.rollout import DeploymentError, Newcomer, deploy
from tests.serving.conftest import Served, stubs
from tests.serving.example import RAW, ROW, SPEC, VIEWS, example_plan, score_directly, write_graph

OWN = SPEC.model_copy(update={"name": "hot", "serving": SPEC.serving.model_copy(update={"mode": "own"})})


def deploy_own(running: Served, bias: float) -> Plan:
    version, graph = running.graph(bias)
    return deploy(Newcomer(OWN, version, graph, VIEWS), running.settings)


def own_models(running: Served) -> set[str]:
    return {path.name for path in running.server.repository.models.glob("hot__*")}


@pytest.mark.server
def test_it_answers_as_the_graph_does_and_leaves_when_no_plan_names_it(running: Served) -> None:
    plans = [deploy_own(running, bias) for bias in (-2.5, -1.5, -0.5)]
    assert own_models(running) == {plan.champion.own for plan in plans[1:]}  # the previous one stays warm
    plan = plans[-1]
    expected = score_directly(running.graphs[plan.champion.version], plan.champion.inputs, RAW)
    answers = running.client().predict("hot", [ROW] * 300, explain=0)
    assert {(p.probability, p.model_version) for p in answers} == {(expected, plan.champion.version)}
    (explained,) = running.client().predict("hot", [ROW], explain=3)
    assert len(explained.explanation) == 3
    broken, graph = running.graph(3.0)
    graph.write_bytes(b"no graph")
    with pytest.raises(DeploymentError, match=f"version {plan.champion.version}, keeps serving"):
        deploy(Newcomer(OWN, broken, graph, VIEWS), running.settings)
    assert own_models(running) == {one.champion.own for one in plans[1:]}
    assert read_new(Path(plan.prediction_log), log_schema(plan))[0].height >= 0


@pytest.mark.server
def test_its_killed_process_is_found_and_loaded_again(running: Served) -> None:
    deploy_own(running, -2.0)
    plan = deploy_own(running, -2.5)
    process = recall(running.settings.serving_home / "server" / "triton.json")
    assert process is not None
    (own,) = [pid for pid in stubs(running) if plan.champion.own in Path(f"/proc/{pid}/cmdline").read_text()]
    os.kill(own, signal.SIGKILL)
    assert "hot" in running.server.status().failing
    assert not running.server.start().failing
    assert running.client().predict("hot", [ROW])[0].model_version == plan.champion.version


def test_both_configurations_take_and_give_the_same_tensors(tmp_path: Path) -> None:
    plan = example_plan(tmp_path)
    python, ours = (own_config("hot__1", plan.champion, "probability", b) for b in ("python", "onnxruntime"))
    assert python.replace('"python"', '"onnxruntime"') == ours.partition("parameters")[0]
    assert '{ name: "aircraft__last_arrived_at", data_type: TYPE_FP64, dims: [ 1 ] }' in ours


def test_where_triton_has_onnx_runtime_s_backend_it_is_used(tmp_path: Path) -> None:
    assert backend_of(tmp_path) == "python"
    (tmp_path / "onnxruntime").mkdir()
    assert backend_of(tmp_path) == "onnxruntime"
    plan = example_plan(tmp_path)
    version = replace(plan.champion, own="hot__1")
    write_graph(Path(version.onnx), 0.0, version.inputs)
    (tmp_path / "models").mkdir()
    write_own(tmp_path / "models", version, "probability", "onnxruntime")
    assert (tmp_path / "models/hot__1/1/model.onnx").read_bytes() == Path(version.onnx).read_bytes()
    assert 'backend: "onnxruntime"' in (tmp_path / "models/hot__1/config.pbtxt").read_text()


def test_the_platform_writes_for_the_backend_that_replicas_have_and_not_for_its_own(tmp_path: Path) -> None:
    assert kept_backend(tmp_path) == "python"
    (tmp_path / "backends" / "onnxruntime").mkdir(parents=True)
    keep_backend(tmp_path, tmp_path / "backends")
    assert kept_backend(tmp_path) == "onnxruntime"
