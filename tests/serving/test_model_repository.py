import os
from dataclasses import replace
from pathlib import Path

import pytest

from serving.model_repository import ModelRepository, config_pbtxt
from serving.plan import Plan, RequestInput
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
    repository.write_revision(plan)
    repository.mark_deployed(plan)
    return plan


def test_history_keeps_every_deployed_plan_and_its_artifact(repository: ModelRepository, tmp_path: Path) -> None:
    plans = [deploy(repository, tmp_path, version) for version in ("1", "2", "1")]
    assert repository.history("example") == plans
    assert [plan.revision for plan in plans] == [1, 2, 3]
    assert all(Path(plan.champion.onnx).is_file() for plan in plans)
    assert repository.deployed_models() == ["example"]


def test_a_revision_and_an_artifact_are_immutable(repository: ModelRepository, tmp_path: Path) -> None:
    plan = deploy(repository, tmp_path, "1")
    with pytest.raises(ValueError, match="immutable"):
        repository.write_revision(plan)
    (tmp_path / "1.onnx").write_bytes(b"other")
    with pytest.raises(ValueError, match="as a new version"):
        repository.write_artifact("example", "1", tmp_path / "1.onnx")
    with pytest.raises(LookupError, match="no ONNX file"):
        repository.write_artifact("example", "9", tmp_path / "9.onnx")


@pytest.mark.parametrize("steps", range(5))
def test_killed_between_any_two_steps_the_old_revision_stays(
    repository: ModelRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    old = deploy(repository, tmp_path, "1")
    done = []

    def step(real):  # type: ignore[no-untyped-def]
        def renamed(*arguments):  # type: ignore[no-untyped-def]
            if len(done) == steps:
                raise Killed
            done.append(1)
            real(*arguments)

        return renamed

    monkeypatch.setattr(os, "rename", step(os.rename))
    monkeypatch.setattr(os, "replace", step(os.replace))
    finished = False
    try:
        deploy(repository, tmp_path, "2")
        finished = True
    except Killed:
        pass
    monkeypatch.undo()
    repository.discard_unverified("example")
    assert finished == (steps == 4)
    serving = repository.deployed("example")
    assert serving is not None
    assert serving.champion.version == ("2" if finished else "1")
    assert max(int(p.name) for p in (repository.models / "example").iterdir() if p.is_dir()) == serving.revision
    assert finished or repository.history("example") == [old]
    assert Path(serving.champion.onnx).is_file()


def test_a_refused_revision_leaves_triton_s_sight_with_its_reason_and_number(
    repository: ModelRepository, tmp_path: Path
) -> None:
    good = deploy(repository, tmp_path, "1")
    (tmp_path / "2.onnx").write_bytes(b"2")
    artifact = repository.write_artifact("example", "2", tmp_path / "2.onnx")
    bad = replace(example_plan(tmp_path, 2, "2"), request=(*good.request, RequestInput("extra", "FP64")))
    repository.write_revision(bad)
    repository.discard_unverified("example", reason="it broke")
    assert (repository.home / "refused/example/2/reason.txt").read_text() == "it broke\n"
    assert not artifact.exists()
    assert (repository.models / "example/config.pbtxt").read_text() == config_pbtxt(good)
    assert repository.next_revision("example") == 3


def test_the_configuration_serves_only_the_newest_revision_in_batches(tmp_path: Path) -> None:
    config = config_pbtxt(example_plan(tmp_path))
    queue = (
        "timeout_action: REJECT, default_timeout_microseconds: 1000000, allow_timeout_override: true, max_queue_size"
    )
    for wanted in (
        f"dynamic_batching {{ default_queue_policy {{ {queue}: 1024 }} }}",
        'backend: "python"',
        "latest { num_versions: 1 }",
        "count: 1",
    ):
        assert wanted in config
    assert "count: 3" in config_pbtxt(replace(example_plan(tmp_path), processes=3))
    assert '{ name: "runway", data_type: TYPE_FP64, dims: [ 1 ] }' in config
