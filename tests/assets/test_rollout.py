"""Rollout on a real Triton: what may serve as what, and the sensor that brings on the sound version and ends others.

One file, though a long one: its Triton and its versions are there once for all of it.
"""

import dataclasses
from collections.abc import Iterator
from datetime import timedelta

import dagster as dg
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from assets.approved_steps import approve
from assets.deployment import deployment_asset
from assets.rollout import Step, take
from assets.rollout_job import rollout_job, run_config
from assets.trial import trial_sensor
from assets.trial_watch import trial_of
from checks.guard import GateClosed
from ml.lake import WHOLE
from ml.upkeep import Approval
from serving.rollout import status
from serving.server import Server
from serving.triton_files import free_ports
from tests.assets.rollout_world import BOUNDS, EXAMPLE, World, make_home

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("home")
    platform = make_home(home)
    server = Server(platform.settings)
    server.start()
    try:
        with dg.DagsterInstance.ephemeral(tempdir=str(home)) as instance:
            made = World(platform, instance)
            made.take("promote", made.register(-3.0))
            yield made
    finally:
        server.stop()


class Looking:
    """The sensor, as the daemon asks it, and the job that it starts."""

    def __init__(self, world, spec=EXAMPLE):
        self.world, self.job = world, rollout_job(spec)
        self.sensor = trial_sensor(spec, self.job)

    def look(self, platform=None):
        resources = {"platform": platform or self.world.platform}
        context = dg.build_sensor_context(instance=self.world.instance, resources=resources)
        (found,) = self.sensor(context)
        return found

    def run(self, request, resources=None):
        return self.job.execute_in_process(
            run_config=request.run_config,
            tags=request.tags,
            instance=self.world.instance,
            resources=resources or {"platform": self.world.platform},
            raise_on_error=False,
        )


@pytest.fixture
def looking(world):
    yield Looking(world)
    for version, variant in world.lineup().items():
        if variant in ("canary", "challenger", "shadow"):
            world.take("end", version)


def failing(path):
    """Make a graph that answers 7 to flights of more than 1450 miles, of which none is asked when it is verified."""
    model = onnx.load(path)
    for name, value in {"seven": [[7.0]], "far": [[1450.0]]}.items():
        model.graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), name))
    distance = [entry.name for entry in model.graph.input].index("distance")
    before_last(
        model,
        [
            helper.make_node("Greater", [f"float_{distance}", "far"], ["is_far"]),
            helper.make_node("Where", ["is_far", "seven", "sigmoid"], ["answer"]),
        ],
    )
    onnx.save(model, path)


def slow(path, rounds=4, size=384):
    """Make a graph that multiplies large matrices on its way, for one row at a time."""
    model = onnx.load(path)
    for name, value in {"matrix": np.eye(size), "wide": np.zeros((size, size))}.items():
        model.graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), name))
    products = [helper.make_node("MatMul", [f"p{n}", "matrix"], [f"p{n + 1}"]) for n in range(rounds)]
    first = helper.make_node("Add", ["sigmoid", "wide"], ["p0"])
    last = helper.make_node("ReduceMean", [f"p{rounds}"], ["answer"], axes=[0, 1], keepdims=1)
    before_last(model, [first, *products, last])
    onnx.save(model, path)


def before_last(model, nodes):
    """Put nodes that make `answer` before the graph's last one, which then scales that."""
    last = model.graph.node.pop()
    last.input[0] = "answer"
    model.graph.node.extend([*nodes, last])


def test_nobody_answers_who_has_not_passed_but_a_shadow_may_score(world, looking):
    version = world.register(-2.9, passes=False)
    for action in ("promote", "canary", "challenger"):
        with pytest.raises(GateClosed, match=rf"example/rollout refuses .*version {version}: check 'promotion' has no"):
            world.take(action, version)
    assert world.lineup().get(version) is None
    world.take("shadow", version, 1.0)
    assert world.lineup()[version] == "shadow"
    assert version not in world.aliases().values()
    with pytest.raises(GateClosed):
        world.take("promote", version)
    world.take("end", version)
    with pytest.raises(LookupError, match="no version 99"):
        world.take("shadow", "99")


def test_aliases_follow_a_challenger_its_promotion_and_the_rollback(world, looking):
    before, version = world.aliases()["champion"], world.register(-3.01)
    plan = world.take("challenger", version, 1.0)  # the keys of a probe included
    assert (plan.change.action, plan.change.by, plan.change.why) == ("begin challenger", "tests", "why not")
    assert world.aliases() == {"champion": before, "challenger": version}
    world.take("end", version)
    assert world.aliases() == {"champion": before}
    other = world.register(-3.02)
    world.take("canary", version, 0.2)
    world.take("challenger", other, 0.2)
    assert world.aliases() == {"champion": before, "challenger": other}
    world.take("promote", version)  # which ends the other one
    assert world.aliases() == {"champion": version, "previous": before}
    assert world.lineup() == {version: "champion", before: "previous"}
    world.take("rollback")
    assert world.aliases()["champion"] == before
    with pytest.raises(GateClosed, match="rolled back to version"):
        world.take("promote", version)


def test_a_sound_canary_is_promoted_once(world, looking):
    version = world.register(-3.02)
    assert "no version of example is on trial" in looking.look().skip_message
    world.take("canary", version, 0.5)
    world.ask(60)
    assert "of at least 100 rows" in looking.look().skip_message
    assert world.platform.verdicts.newest("example/model", int(version), WHOLE, "canary") is None
    world.ask(700)
    request = looking.look()
    assert isinstance(request, dg.RunRequest), request.skip_message
    assert looking.look().run_key == request.run_key  # nothing started meanwhile: Dagster takes a key once
    assert looking.run(request).success
    assert world.lineup()[version] == "champion"
    assert "is on trial" in looking.look().skip_message
    verdict = world.platform.verdicts.newest("example/model", int(version), WHOLE, "canary")
    assert (verdict.passed, verdict.evidence["decision"]) == (True, "promote")
    rows = world.platform.verdicts.rows("example/model").filter(version=int(version), check="canary")
    assert rows.height == 1
    observed = world.instance.fetch_observations(dg.AssetKey(["example", "deployment"]), limit=1).records[0]
    shown = observed.asset_observation.metadata
    assert f"version {version}" in shown["who answers"].value
    assert "answers without failing" in shown["canary evidence"].value
    registered = world.platform.registry.version("example", version)
    assert world.platform.registry.artifact(registered, "canary/canary.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("fault", "bias", "said"),
    [
        ("wrong", -1.5, "mean answer as the champion's"),
        ("fails", -3.0, "answers without failing"),
        ("slow", -3.0, "as fast as the champion"),
    ],
)
def test_a_canary_that_answers_wrong_fails_or_is_slow_is_ended_and_stays_out(world, looking, fault, bias, said):
    version = world.register(bias, spoil={"wrong": lambda path: None, "fails": failing, "slow": slow}[fault])
    champion = world.aliases()["champion"]
    world.take("canary", version, 0.5)
    world.ask(280)
    request = looking.look()
    assert isinstance(request, dg.RunRequest), request.skip_message
    assert said in request.tags["headwater/reason"]
    assert looking.run(request).success
    assert version not in world.lineup()
    assert world.aliases()["champion"] == champion
    assert "challenger" not in world.aliases()
    plan = status("example", world.platform.settings).history[-1]
    assert (plan.change.action, plan.change.by) == ("end canary", "canary judge")
    with pytest.raises(GateClosed, match="as canary: revert"):
        world.take("canary", version)


def test_a_canary_that_is_not_decided_by_its_deadline_ends_and_may_begin_again(world, looking):
    version = world.register(-3.0)
    world.take("canary", version, 0.5)
    canary = trial_of(world.platform, "example")
    late = EXAMPLE.model_copy(update={"canary": BOUNDS.model_copy(update={"hours": 1e-6})})
    sensor = trial_sensor(late, looking.job)
    context = dg.build_sensor_context(instance=world.instance, resources={"platform": world.platform})
    (request,) = sensor(context)
    assert "not decided in 1e-06 hours" in request.tags["headwater/reason"]
    assert looking.run(request).success
    assert version not in world.lineup()
    world.take("canary", version, 0.5)
    assert trial_of(world.platform, "example").begin.revision > canary.begin.revision


def test_a_canary_whose_log_is_damaged_ends_at_its_deadline_and_says_why(world, looking):
    version = world.register(-3.0)
    world.take("canary", version, 0.5)
    log = world.platform.settings.serving_home / "predictions" / "example" / "000000-damaged.frames"
    log.write_bytes(b"no prediction" * 10)
    try:
        told = looking.look().skip_message
        assert f"it could not be judged: {log} holds no prediction at byte 0" in told
        assert "it ends after 24 hours" in told
        late = EXAMPLE.model_copy(update={"canary": BOUNDS.model_copy(update={"hours": 1e-6})})
        context = dg.build_sensor_context(instance=world.instance, resources={"platform": world.platform})
        (request,) = trial_sensor(late, looking.job)(context)
        assert "it could not be judged" in request.tags["headwater/reason"]
        assert looking.run(request).success
    finally:
        log.unlink()
    assert version not in world.lineup()
    verdict = world.platform.verdicts.newest("example/model", int(version), WHOLE, "canary")
    assert (verdict.passed, verdict.evidence["faulty"]) == (False, False)
    world.take("canary", version, 0.5)


def test_a_larger_share_is_the_same_canary_and_another_champion_is_not(world, looking):
    version = world.register(-3.0)
    first = world.take("canary", version, 0.1).revision
    world.take("canary", version, 0.3)
    found = trial_of(world.platform, "example")
    assert (found.version, found.begin.revision) == (version, first)
    assert trial_of(world.platform, "nobody") is None
    assert 0 <= found.hours(world.platform.clock.now()) < 1
    assert found.hours(world.platform.clock.now() + timedelta(hours=3)) > 3


def test_a_run_under_way_starts_no_second_one_a_failed_one_is_tried_thrice_and_without_triton_nothing_is_judged(
    world, looking
):
    version = world.register(-1.5)
    world.take("canary", version, 0.5)
    world.ask(280)
    nobody = dataclasses.replace(
        world.platform, settings=world.platform.settings.model_copy(update={"triton_grpc_port": free_ports(1)[0]})
    )
    assert "no Triton at" in looking.look(nobody).skip_message
    keys = []
    for _ in range(3):
        request = looking.look()
        keys.append(request.run_key)
        assert not looking.run(request, {"platform": nobody}).success
    assert len(set(keys)) == 3
    assert "failed 3 times" in looking.look().skip_message


def test_the_job_is_configured_as_the_command_is(world):
    config = run_config("example", Step("rollback", why="too slow", by="me"))
    assert (
        dg.validate_run_config(rollout_job(EXAMPLE), config)["ops"]["example_rollout_step"]["config"]["action"]
        == "rollback"
    )


def deployed(world, spec):
    """Materialize the deployment of a spec and return what its newest version serves as."""
    asset, model = deployment_asset(spec), dg.AssetSpec(["example", "model"])
    done = dg.materialize([model, asset], instance=world.instance, resources={"platform": world.platform})
    (made,) = done.asset_materializations_for_node("example__deployment")
    return made.metadata["serves as"].value


def serving(**changes):
    return EXAMPLE.model_copy(update={"serving": EXAMPLE.serving.model_copy(update=changes)})


def events(world, version):
    rows = world.platform.loop_log.rows("example").filter(version=version)
    return rows["event"].to_list()


def test_the_deployment_of_a_spec_with_a_canary_s_share_begins_one_and_leaves_the_champion(world, looking):
    version, champion = world.register(-3.0), world.aliases()["champion"]
    assert deployed(world, serving(canary_share=0.2)) == "canary, 20% of the keys"
    assert world.aliases() | {"challenger": version, "champion": champion} == world.aliases()
    assert world.lineup()[version] == "canary"


def test_a_new_version_goes_from_shadow_to_canary_to_champion_by_itself(world, looking):
    spec = serving(shadow_rows=100, canary_share=0.5)
    version, on_its_way = world.register(-3.01), Looking(world, spec)
    assert deployed(world, spec) == "shadow, 100% of the keys"
    for variant in ("shadow", "canary", "champion"):
        assert world.lineup()[version] == variant
        world.ask(700)
        found = on_its_way.look()
        if variant != "champion":
            assert isinstance(found, dg.RunRequest), found.skip_message
            assert on_its_way.run(found).success
    assert [event for event in events(world, version) if event != "retrain"] == ["shadow", "canary", "champion"]


def test_a_shadow_that_answers_otherwise_never_answers_a_caller(world, looking):
    spec = serving(shadow_rows=100, canary_share=0.5)
    version, on_its_way = world.register(-1.5), Looking(world, spec)
    deployed(world, spec)
    world.ask(280)
    request = on_its_way.look()
    assert request.run_config["ops"]["example_rollout_step"]["config"]["action"] == "end"
    assert on_its_way.run(request).success
    assert version not in world.lineup()
    with pytest.raises(GateClosed, match="as shadow: revert"):
        world.take("canary", version)
    on_its_way.look()
    assert events(world, version) == ["shadow", "reverted"]


def test_a_shadow_that_somebody_began_by_hand_is_not_judged(world, looking):
    version = world.register(-1.5)
    world.take("shadow", version, 1.0)
    world.ask(280)
    assert "is on trial" in looking.look().skip_message
    assert world.lineup()[version] == "shadow"


def test_a_step_that_waits_for_a_person_is_taken_once_one_of_those_named_approved(world, looking):
    spec = serving(canary_share=0.5).model_copy(update={"approval": Approval(steps=("champion",), by=("ada",))})
    version, on_its_way = world.register(-3.02), Looking(world, spec)
    deployed(world, spec)
    world.ask(700)
    assert f"make approve NAME=example VERSION={version} STEP=champion" in on_its_way.look().skip_message
    assert events(world, version)[-1] == "waiting"
    with pytest.raises(PermissionError, match="waits as champion for ada"):
        take(world.platform, "example", Step("promote", version, by="bob"), spec)
    with pytest.raises(PermissionError, match="'bob' may not approve of 'example': ada may"):
        approve(world.platform, spec, version, "champion", "bob", "")
    assert world.lineup()[version] == "canary"
    approve(world.platform, spec, version, "champion", "ada", "looked at the card")
    request = on_its_way.look()
    assert on_its_way.run(request).success
    assert world.lineup()[version] == "champion"


def test_a_first_step_that_waits_leaves_everything_as_it_is_until_then(world, looking):
    spec = EXAMPLE.model_copy(update={"approval": Approval(steps=("champion",), by=("ada",))})
    version, before, on_its_way = world.register(-3.03), world.lineup(), Looking(world, spec)
    assert "waits as champion for ada" in deployed(world, spec)
    assert world.lineup() == before
    assert "is on trial" in on_its_way.look().skip_message
    approve(world.platform, spec, version, "champion", "ada", "")
    assert on_its_way.run(on_its_way.look()).success
    assert world.lineup()[version] == "champion"
    with pytest.raises(ValueError, match="canary of 'example' waits for nobody"):
        approve(world.platform, spec, version, "canary", "ada", "")
