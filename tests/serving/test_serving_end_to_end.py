"""The real Triton: what a client is promised when versions change and processes die.

One file, though a long one: its server starts once for all of it.
"""

import dataclasses
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from assets import rollout as rollout_command
from ml.serving_settings import Slo
from serving import client as client_cli
from serving import rollout, rollout_status, triton_files
from serving.build_plan import build_plan
from serving.latency import Latency
from serving.log_reader import log_schema, read_new
from serving.plan import Arm
from serving.proc_files import ended
from serving.rollout import DeploymentError, Newcomer, deploy, rollback
from serving.server import Server
from tests.serving.conftest import Served, leader, stubs
from tests.serving.example import RAW, ROW, SPEC, VIEWS, example_plan, score_directly, write_graph

pytestmark = pytest.mark.server


def test_served_probability_is_the_graph_s_on_the_same_row(running: Served) -> None:
    plan = running.deploy(bias=-2.5)
    (prediction,) = running.client().predict("example", [ROW])
    graph = running.graphs[plan.champion.version]
    assert prediction.probability == score_directly(graph, plan.champion.inputs, RAW)
    assert prediction.model_version == plan.champion.version
    assert not prediction.degraded
    assert prediction.feature_status == {"aircraft": "present", "runway": "present"}


def test_unknown_aircraft_and_missing_numbers_are_answered_as_missing(running: Served) -> None:
    plan = running.deploy(bias=-2.5)
    row = {**ROW, "tailnum": "NEVER", "distance": None, "runway": None}
    raw = {name: None if "__" in name or name == "distance" else value for name, value in RAW.items()}
    (prediction,) = running.client().predict("example", [row])
    assert prediction.probability == score_directly(running.graphs[plan.champion.version], plan.champion.inputs, raw)
    assert prediction.feature_status == {"aircraft": "not_found", "runway": "not_found"}


def test_an_answer_says_whether_to_act_and_how_old_its_features_are(running: Served) -> None:
    version, graph = running.graph(-2.5)
    threshold = score_directly(graph, example_plan(running.settings.home).champion.inputs, RAW)
    deploy(Newcomer(SPEC, version, graph, VIEWS, threshold), running.settings)
    known, unknown = running.client().predict("example", [ROW, {**ROW, "tailnum": "NEVER"}])
    assert known.decision is True
    assert unknown.decision is (unknown.probability >= threshold)
    assert known.feature_age_seconds == {"aircraft": 3600.0, "runway": 3600.0}
    assert unknown.feature_age_seconds == {"runway": 3600.0}
    running.deploy()
    assert running.client().predict("example", [ROW])[0].decision is None


@pytest.mark.parametrize("killed", ["server", "stub"])
def test_a_kill_loses_no_prediction_that_was_answered(running: Served, killed: str) -> None:
    plan = running.deploy()
    answered: list[str] = []
    client = running.client(timeout=2.0)
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        answered += [p.prediction_id for p in client.predict("example", [ROW, ROW])]
    os.kill(leader(running) if killed == "server" else stubs(running)[0], signal.SIGKILL)
    if killed == "server":
        time.sleep(1)  # its stub ends by itself
        running.server.stop()
    running.server.start()
    answered += [p.prediction_id for p in running.client().predict("example", [ROW])]
    running.deploy()
    frame, _ = read_new(Path(plan.prediction_log), log_schema(plan))
    logged = frame.filter(revision=plan.revision)["prediction_id"].to_list()
    assert set(answered) <= set(logged)
    assert len(logged) == len(set(logged))


def test_more_rows_than_a_batch_come_back_in_order(running: Served) -> None:
    rows = [{**ROW, "distance": 10 * n} for n in range(600)]
    predictions = running.client().predict("example", rows)
    assert len({p.prediction_id for p in predictions}) == 600
    assert [p.probability for p in predictions] == sorted(p.probability for p in predictions)


def test_every_prediction_is_logged_and_no_probe_is(running: Served) -> None:
    plan = running.deploy()
    (prediction,) = running.client().predict("example", [ROW])
    running.deploy()  # the old process writes out its log when it is replaced
    until = time.monotonic() + 10
    while time.monotonic() < until:
        frame, _ = read_new(Path(plan.prediction_log), log_schema(plan))
        mine = frame.filter(revision=plan.revision)
        if mine.height:
            break
        time.sleep(0.1)
    assert mine["prediction_id"].to_list() == [prediction.prediction_id]
    assert mine.select(list(RAW)).row(0, named=True) == RAW
    assert mine.select("tailnum", "runway", "model_version").row(0) == ("N1", 4, plan.champion.version)
    assert mine["aircraft__event_timestamp"][0].timestamp() == RAW["aircraft__last_arrived_at"]


def test_a_new_version_takes_over_without_a_failed_request(running: Served) -> None:
    failures: list[Exception] = []
    seen: list[str] = []
    done = threading.Event()

    def ask() -> None:
        client = running.client()
        until = time.monotonic() + 20
        while not done.is_set() and time.monotonic() < until:
            try:
                seen.append(client.predict("example", [ROW])[0].model_version)
            except Exception as error:
                failures.append(error)

    askers = [threading.Thread(target=ask) for _ in range(2)]
    for asker in askers:
        asker.start()
    plans = [running.deploy(bias) for bias in (-1.0, -2.0)]
    time.sleep(0.3)
    done.set()
    for asker in askers:
        asker.join()
    assert not failures, failures[0]
    assert len(seen) > 50
    assert {plan.champion.version for plan in plans} <= set(seen)


@pytest.mark.parametrize("fault", ["unreadable", "other inputs", "no probabilities"])
def test_a_broken_version_is_refused_and_the_old_one_keeps_serving(running: Served, fault: str) -> None:
    good = running.deploy()
    version, graph = running.graph(3.0, scale=2.0 if fault == "no probabilities" else 1.0)
    if fault == "unreadable":
        graph.write_bytes(b"no graph")
    spec = SPEC
    if fault == "other inputs":
        request = [*SPEC.model_dump()["request"], {"name": "new_field", "kind": "numeric"}]
        spec = SPEC.model_validate({**SPEC.model_dump(), "request": request})
    with pytest.raises(DeploymentError, match=f"revision {good.revision}, version {good.champion.version}, keeps"):
        deploy(Newcomer(spec, version, graph, VIEWS), running.settings)
    assert running.client().predict("example", [ROW])[0].model_version == good.champion.version
    assert running.server.repository.history("example")[-1] == good
    assert running.deploy().revision > good.revision + 1


def test_answer_times_are_measured_with_the_given_rows_and_not_logged(running: Served) -> None:
    measured: list[Latency] = []
    version, graph = running.graph(-1.5)
    rows = [{**ROW, "distance": n, "late": 1} for n in range(3)]
    plan = deploy(Newcomer(SPEC, version, graph, VIEWS, None, rows, measured.append), running.settings)
    (latency,) = measured
    assert 0 < latency.median_ms <= latency.p99_ms <= SPEC.serving.slo.p99_ms
    running.deploy()  # the process that was asked writes out its log when it is replaced
    assert read_new(Path(plan.prediction_log), log_schema(plan))[0].filter(revision=plan.revision).height == 0


def test_a_version_too_slow_for_its_slo_is_refused_and_the_old_one_keeps_serving(running: Served) -> None:
    good = running.deploy()
    serving = SPEC.serving.model_copy(update={"slo": Slo(p99_ms=1e-3)})
    spec = SPEC.model_copy(update={"serving": serving})
    refused = r"p99 of 200 single-row answers is \d+\.\d ms in the best of \d+ rounds .* at most 0\.001 ms"
    with pytest.raises(DeploymentError, match=refused + f".*revision {good.revision}, .* keeps serving"):
        deploy(Newcomer(spec, *running.graph(3.0), VIEWS), running.settings)
    assert running.client().predict("example", [ROW])[0].model_version == good.champion.version
    assert running.server.repository.deployed("example") == good


def test_a_first_version_that_breaks_leaves_nothing(running: Served) -> None:
    spec = SPEC.model_copy(update={"name": "newcomer"})
    version, graph = running.graph(3.0, scale=2.0)
    with pytest.raises(DeploymentError, match=r"which are no probabilities.*nothing serves"):
        deploy(Newcomer(spec, version, graph, VIEWS), running.settings)
    with pytest.raises(LookupError, match="was never deployed"):
        rollout.status("newcomer", running.settings)
    with pytest.raises(LookupError, match="serves no model 'newcomer'"):
        running.client().predict("newcomer", [ROW])
    assert not running.server.status().failing


def test_a_version_with_another_request_field_reaches_a_client_that_knew_the_old_fields(
    running: Served,
) -> None:
    client = running.client()
    client.predict("example", [ROW])
    request = [*SPEC.model_dump()["request"], {"name": "seats", "kind": "numeric"}]
    spec = SPEC.model_validate({**SPEC.model_dump(), "request": request})
    version, graph = running.graph(0.0)
    write_graph(graph, 0.0, build_plan(spec, VIEWS, 1, version, graph, running.settings).champion.inputs)
    deploy(Newcomer(spec, version, graph, VIEWS), running.settings)
    with pytest.raises(ValueError, match="lacks \\['seats'\\]"):
        client.predict("example", [ROW])
    assert client.predict("example", [{**ROW, "seats": 180}])[0].model_version == version
    rollback("example", running.settings)
    assert client.predict("example", [ROW])[0].model_version != version


def test_rollback_serves_the_previous_champion_as_a_new_revision(running: Served) -> None:
    first, second = running.deploy(-1.0), running.deploy(-2.0)
    plan, left = rollback("example", running.settings)
    assert left == second.champion.version
    assert (plan.champion, plan.revision) == (first.champion, second.revision + 1)
    assert plan.arms == (Arm("previous", second.champion),)
    assert running.client().predict("example", [ROW])[0].model_version == first.champion.version
    state = rollout.status("example", running.settings)
    assert [p.change.action for p in state.history][-3:] == ["try", "deploy", "rollback"]
    assert [p.champion.version for p in state.history][-3:] == [p.champion.version for p in (first, second, first)]
    assert state.answering == (plan.revision, plan.champion.version)


def test_an_unverified_revision_is_not_served_after_a_restart(running: Served) -> None:
    good = running.deploy()
    repository = running.server.repository
    unproven = dataclasses.replace(good, revision=good.revision + 1)
    repository.write_plan(unproven)
    repository.point(unproven, proven=False)
    running.server.stop()
    assert running.server.start().serving["example"].revision == good.revision


def test_with_triton_killed_the_client_fails_clearly_in_time_and_a_start_brings_the_model_back(
    running: Served,
) -> None:
    client = running.client(timeout=2.0)
    client.predict("example", [ROW])
    os.kill(leader(running), signal.SIGKILL)
    start = time.monotonic()
    with pytest.raises(ConnectionError, match=r"no Triton at .*; start it with make start"):
        client.predict("example", [ROW])
    assert time.monotonic() - start < 2.5
    assert not running.server.start().failing
    assert client.predict("example", [ROW])


def test_with_triton_frozen_the_client_fails_in_time(running: Served) -> None:
    pid = leader(running)
    client = running.client(timeout=1.0)
    os.kill(pid, signal.SIGSTOP)
    try:
        start = time.monotonic()
        with pytest.raises(TimeoutError, match="within 1 s"):
            client.predict("example", [ROW])
        assert time.monotonic() - start < 2.0
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_killed_stub_is_found_by_the_probe_and_recovered_by_a_start(running: Served) -> None:
    pid = leader(running)
    (stub,) = stubs(running)
    os.kill(stub, signal.SIGKILL)
    assert "example" in running.server.status().failing
    with pytest.raises(RuntimeError, match="make start"):
        running.client().predict("example", [ROW])
    status = running.server.start()
    assert status.pid == pid
    assert not status.failing
    assert running.client().predict("example", [ROW])


def test_client_names_what_is_wrong(running: Served) -> None:
    client = running.client()
    with pytest.raises(LookupError, match="serves no model 'nobody'"):
        client.predict("nobody", [ROW])
    with pytest.raises(ValueError, match=r"lacks \['tailnum'\] and has unknown \['tail'\]; it takes tailnum \(text\)"):
        client.predict("example", [{**{k: v for k, v in ROW.items() if k != "tailnum"}, "tail": "N1"}])
    with pytest.raises(ValueError, match="field 'distance' is 'far'"):
        client.predict("example", [{**ROW, "distance": "far"}])
    with pytest.raises(ValueError, match="field 'distance' is '2013-10-03'; it takes a number"):
        client.predict("example", [{**ROW, "distance": "2013-10-03"}])
    with pytest.raises(ValueError, match="field 'departure' is '2013-10-03T17:15'; it takes an instant with its zone"):
        client.predict("example", [{**ROW, "departure": "2013-10-03T17:15"}])
    with pytest.raises(ValueError, match="input 'distance' is infinite"):
        client.predict("example", [{**ROW, "distance": float("inf")}])
    with pytest.raises(ValueError, match=r"input 'runway' is 4\.5"):
        client.predict("example", [{**ROW, "runway": 4.5}])


def test_command_lines_answer_and_fail_in_one_line(
    running: Served, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWATER_HOME", str(running.settings.home))
    monkeypatch.setenv("HEADWATER_TRITON_GRPC_PORT", str(running.settings.triton_grpc_port))
    assert client_cli.main(["example", *(f"{name}={value}" for name, value in ROW.items())]) == 0
    assert "prediction_id" in capsys.readouterr().out
    assert client_cli.main(["example", "tailnum=N1"]) == 1
    assert "lacks ['departure', 'distance', 'origin', 'runway']; it takes" in capsys.readouterr().err
    assert client_cli.main(["exampel", "tailnum=N1"]) == 1
    assert "correct the name: make status says what is served" in capsys.readouterr().err
    nobody = {**ROW, "tailnum": "N-nobody"}
    assert client_cli.main(["example", *(f"{name}={value}" for name, value in nobody.items())]) == 0
    assert "not found" in capsys.readouterr().out
    wall = {**ROW, "departure": "2013-10-03T17:15"}
    assert client_cli.main(["example", *(f"{name}={value}" for name, value in wall.items())]) == 1
    assert "field 'departure' is '2013-10-03T17:15'; it takes an instant" in capsys.readouterr().err
    for arguments in (["example"], []):
        assert rollout_status.main(arguments) == 0
        assert capsys.readouterr().out.count("(answers)") == 1
    assert rollout_command.main(["rollback", "example", "--why", "a test"]) == 0
    assert "[rollback, by " in capsys.readouterr().out
    assert rollout_command.main(["rollback", "nobody"]) == 1
    assert capsys.readouterr().err == "headwater: model 'nobody' was never deployed; run make demo\n"


def test_a_taken_port_is_named_with_its_setting(running: Served) -> None:
    with pytest.raises(OSError, match=f"port {running.settings.triton_grpc_port} .* HEADWATER_TRITON_GRPC_PORT"):
        triton_files.require_ports(running.settings)


def test_a_triton_that_cannot_move_to_a_taken_port_goes_on_where_it_is(running: Served) -> None:
    before = running.server.status().pid
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        elsewhere = Server(running.settings.model_copy(update={"triton_grpc_port": somebody.getsockname()[1]}))
        for ask in (elsewhere.require_startable, elsewhere.start):
            with pytest.raises(OSError, match="for Triton's grpc is taken"):
                ask()
    assert running.server.status().pid == before
    assert running.server.status().live


def test_stopping_leaves_no_process_and_no_shared_memory(running: Served) -> None:
    pids = [leader(running), *stubs(running)]
    prefix = triton_files.shared_memory_prefix(running.settings)
    assert list(Path("/dev/shm").glob(f"{prefix}*"))
    assert running.server.stop()
    assert not [pid for pid in pids if not ended(pid)]  # whom nobody reaped yet has ended, too
    assert not list(Path("/dev/shm").glob(f"{prefix}*"))
    assert not running.server.stop()


def test_deploying_without_triton_says_so_and_writes_nothing(running: Served) -> None:
    repository = running.server.repository
    before, revision = repository.history("example"), repository.next_revision("example")
    running.server.stop()
    with pytest.raises(ConnectionError, match="make start"):
        running.deploy()
    assert (repository.history("example"), repository.next_revision("example")) == (before, revision)
