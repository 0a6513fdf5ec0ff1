import os
from dataclasses import replace
from pathlib import Path

import pytest

from serving.model_repository import ModelRepository
from serving.plan import Arm, Plan, RequestInput
from serving.triton_config import config_pbtxt
from tests.serving.example import example_plan, settings_at


class Killed(BaseException):
    pass


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    return ModelRepository(settings_at(tmp_path).serving_home)


def deploy(repository: ModelRepository, home: Path, version: str) -> Plan:
    graph = home / f"{version}.onnx"
    graph.write_bytes(version.encode())
    repository.write_artifact("example", version, graph)
    plan = example_plan(home, repository.next_revision("example"), version)
    repository.write_plan(plan)
    if not repository.configured(plan):
        repository.configure(plan)
    repository.point(plan, proven=False)
    repository.point(plan, proven=True)
    return plan


def test_history_keeps_every_deployed_plan_and_its_artifact(repository: ModelRepository, tmp_path: Path) -> None:
    plans = [deploy(repository, tmp_path, version) for version in ("1", "2", "1")]
    assert repository.history("example") == plans
    assert [plan.revision for plan in plans] == [1, 2, 3]
    assert all(Path(plan.champion.onnx).is_file() for plan in plans)
    assert repository.deployed_models() == ["example"]


def test_plans_of_one_configuration_share_a_revision_in_triton(repository: ModelRepository, tmp_path: Path) -> None:
    for version in ("1", "2", "3"):
        deploy(repository, tmp_path, version)
    assert [path.name for path in (repository.models / "example").iterdir() if path.is_dir()] == ["1"]


def test_a_plan_and_an_artifact_are_immutable(repository: ModelRepository, tmp_path: Path) -> None:
    plan = deploy(repository, tmp_path, "1")
    with pytest.raises(ValueError, match="immutable"):
        repository.write_plan(plan)
    (tmp_path / "1.onnx").write_bytes(b"other")
    with pytest.raises(ValueError, match="as a new version"):
        repository.write_artifact("example", "1", tmp_path / "1.onnx")
    with pytest.raises(LookupError, match="no ONNX file"):
        repository.write_artifact("example", "9", tmp_path / "9.onnx")


@pytest.mark.parametrize("steps", range(7))
@pytest.mark.parametrize("fields", ["same", "more"])
def test_killed_between_any_two_steps_the_old_plan_stays(
    repository: ModelRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int, fields: str
) -> None:
    old = deploy(repository, tmp_path, "1")
    done = []
    if fields == "more":  # another configuration: two more steps
        made = config_pbtxt
        monkeypatch.setattr(
            "serving.model_repository.config_pbtxt", lambda plan: made(plan) + f"# {plan.champion.version}"
        )
        (repository.models / "example/config.pbtxt").write_text(made(old) + "# 1")

    def step(real):  # type: ignore[no-untyped-def]
        def renamed(*arguments):  # type: ignore[no-untyped-def]
            if len(done) == steps:
                raise Killed
            done.append(1)
            real(*arguments)

        return renamed

    with monkeypatch.context() as killing:
        killing.setattr(os, "rename", step(os.rename))
        killing.setattr(os, "replace", step(os.replace))
        finished = False
        try:
            deploy(repository, tmp_path, "2")
            finished = True
        except Killed:
            pass
    repository.discard_unproven("example")
    assert finished == (steps >= (4 if fields == "same" else 6))
    serving = repository.deployed("example")
    assert serving == repository.pointed("example")
    assert serving is not None
    assert serving.champion.version == ("2" if finished else "1")
    assert repository.configured(serving)
    newest = max(int(p.name) for p in (repository.models / "example").iterdir() if p.is_dir())
    assert newest == (2 if finished and fields == "more" else 1)
    assert finished or repository.history("example") == [old]
    assert Path(serving.champion.onnx).is_file()


def test_a_refused_plan_is_kept_with_its_reason_and_its_number_is_not_given_again(
    repository: ModelRepository, tmp_path: Path
) -> None:
    good = deploy(repository, tmp_path, "1")
    (tmp_path / "2.onnx").write_bytes(b"2")
    artifact = repository.write_artifact("example", "2", tmp_path / "2.onnx")
    bad = replace(example_plan(tmp_path, 2, "2"), request=(*good.request, RequestInput("extra", "FP64")))
    repository.write_plan(bad)
    repository.configure(bad)
    repository.point(bad, proven=False)
    assert (repository.deployed("example"), repository.pointed("example")) == (good, bad)
    assert repository.discard_unproven("example", reason="it broke") == good
    assert (repository.home / "refused/example/2/reason.txt").read_text() == "it broke\n"
    assert not artifact.exists()
    assert (repository.models / "example/config.pbtxt").read_text() == config_pbtxt(good)
    assert repository.pointed("example") == good
    assert repository.next_revision("example") == 3
    assert [repository.plan("example", number) for number in (1, 2, 3)] == [good, bad, None]  # both may have answered


def test_a_first_plan_that_was_never_proven_does_not_count(repository: ModelRepository, tmp_path: Path) -> None:
    plan = example_plan(tmp_path)
    repository.write_plan(plan)
    repository.configure(plan)
    repository.point(plan, proven=False)
    assert repository.deployed("example") is None
    assert repository.deployed_models() == []
    assert repository.discard_unproven("example") is None
    assert not repository.pointer("example").exists()
    assert not (repository.models / "example").exists()


def test_a_plan_that_was_a_revision_of_triton_s_is_still_found(repository: ModelRepository, tmp_path: Path) -> None:
    plan = example_plan(tmp_path, revision=4)
    folder = repository.models / "example" / "4"
    folder.mkdir(parents=True)
    (folder / "plan.json").write_text(plan.to_json())
    repository.pointer("example").parent.mkdir(parents=True)
    repository.pointer("example").write_text('{"revision": 4}\n')
    assert repository.history("example") == [plan]
    assert repository.plan("example", 4) == plan
    assert repository.next_revision("example") == 5


def test_a_damaged_pointer_is_named(repository: ModelRepository, tmp_path: Path) -> None:
    deploy(repository, tmp_path, "1")
    repository.pointer("example").write_text("{half")
    with pytest.raises(ValueError, match=r"example\.json is damaged .*deploy again"):
        repository.deployed("example")


def test_the_configuration_is_of_fields_and_processes_not_of_versions(tmp_path: Path) -> None:
    plan = example_plan(tmp_path)
    config = config_pbtxt(plan)
    for wanted in (
        "dynamic_batching {  }",
        'backend: "python"',
        "latest { num_versions: 1 }",
        "count: 1",
    ):
        assert wanted in config
    bounded = config_pbtxt(replace(plan, max_queue=16))
    assert "default_timeout_microseconds: 1000000, allow_timeout_override: true, max_queue_size: 16" in bounded
    assert '{ name: "runway", data_type: TYPE_FP64, dims: [ 1 ] }' in config
    assert "count: 3" in config_pbtxt(replace(plan, processes=3))
    other = replace(plan.champion, version="2")
    assert config_pbtxt(replace(plan, champion=other, arms=(Arm("previous", plan.champion),))) == config
