"""A view that cannot be read costs only the versions that read it. One that is slow: test_rollout, on a real Triton."""

import json
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ml.online_redis import PREFIX
from ml.online_rows import OnlineRow, open_online_rows
from ml.packed import Field, entity_key, pack
from serving.lanes import WAITING, Lanes
from serving.plan import Input, JoinKey, Plan, Variant, Version, View
from serving.router import Router
from tests.redis_server import RedisServer
from tests.serving.example import NOW, write_graph, write_world
from tests.serving.versions import answer, beside, logged, request, version

ROWS = 256
HISTORY = View(
    "history", (JoinKey("tailnum", "string"),), 86_400.0, (Field("trips", "float"), Field("notes", "string"))
)
READ = {"aircraft", "runway"}
CHAMPION = {"aircraft": "not_found", "runway": "present"}  # of most tail numbers


@pytest.fixture
def in_redis(plan: Plan, redis_server: RedisServer, tmp_path: Path) -> Plan:
    """The example's plan on a Redis."""
    write_world(tmp_path, online_store=redis_server.address)
    return replace(plan, online_store=redis_server.address)


def spoil(redis_server: RedisServer) -> None:
    """Make `history`, and no other view, something that cannot be read: a text where its rows were."""
    redis_server.client.set(f"{PREFIX}history", "no rows")


def write_history(address: str) -> None:
    instant = round(NOW.timestamp() - 60) * 1_000_000
    row = pack(HISTORY.fields, (3.0, "n"), instant, instant)
    store = open_online_rows(address)
    store.upsert("history", [OnlineRow(entity_key({"tailnum": f"N{n}"}), row) for n in range(ROWS)])
    store.close()


def curious(plan: Plan, *arms: tuple[Variant, float]) -> Plan:
    """Put versions beside the champion that read `history` as well."""
    inputs = (*plan.champion.inputs, Input("history__trips", "numeric", "history", "trips"))
    found: list[tuple[Variant, Version, float]] = []
    for number, (variant, share) in enumerate(arms, 2):
        one = replace(version(plan, f"{number}_{variant}"), inputs=inputs)
        write_graph(Path(one.onnx), 1.0, inputs)
        found.append((variant, replace(one, version=str(number)), share))
    return beside(replace(plan, views=(*plan.views, HISTORY)), *found)


def test_a_view_that_only_a_shadow_or_the_previous_champion_reads_degrades_no_answer(
    in_redis: Plan, redis_server: RedisServer, routers: list[Router]
) -> None:
    write_history(in_redis.online_store)
    routers.append(router := Router(curious(in_redis, ("shadow", 1.0), ("previous", 0.0))))
    spoil(redis_server)
    for _ in range(3):
        found = answer(router, request(ROWS))
        assert not found.degraded.any()
    assert json.loads(found.status[9]) == {**CHAMPION, "history": "not_needed"}
    assert np.isnan(found.ages[:, 2]).all()
    assert answer(router, request(ROWS, probe=True, version="3")).degraded.all()  # it cannot be read, truly


def test_a_shadow_is_logged_with_what_it_read_itself(plan: Plan) -> None:
    write_history(plan.online_store)
    shadowed = curious(plan, ("shadow", 1.0))
    router = Router(shadowed)
    found = answer(router, request(ROWS))
    router.close()
    lines = logged(shadowed)
    shadow = lines.filter(variant="shadow")
    assert shadow["prediction_id"].to_list() == found.prediction_ids
    assert (set(shadow["history__status"]), set(shadow["history__trips"])) == ({"present"}, {3.0})
    assert set(shadow["runway__status"]) == {"present"}
    champion = lines.filter(variant="champion")
    assert champion["history__status"].null_count() == champion.height == ROWS


def test_a_canary_s_view_degrades_its_own_answers_alone(in_redis: Plan, redis_server: RedisServer) -> None:
    write_history(in_redis.online_store)
    router = Router(mixed := curious(in_redis, ("canary", 0.5)))
    spoil(redis_server)
    found = answer(router, request(ROWS))
    router.close()
    assert found.degraded.tolist() == [variant == "canary" for variant in found.variants]
    assert set(found.variants) == {"canary", "champion"}
    of = {variant: json.loads(told) for variant, told in zip(found.variants, found.status, strict=True)}
    assert of["canary"] == dict.fromkeys([*READ, "history"], "not_read")
    assert of["champion"] == {**CHAMPION, "history": "not_needed"}
    lines = logged(mixed)
    assert lines.filter("degraded")["variant"].unique().to_list() == ["canary"]


@pytest.mark.parametrize("variant", ["shadow", "canary"])
def test_rows_that_do_not_fit_a_view_fail_who_reads_it_and_nobody_else(plan: Plan, variant: Variant) -> None:
    other = replace(HISTORY, fields=HISTORY.fields[:1])  # published anew with fewer columns
    store, instant = open_online_rows(plan.online_store), round(NOW.timestamp()) * 1_000_000
    store.upsert("history", [OnlineRow(entity_key({"tailnum": "N3"}), pack(other.fields, (1.0,), instant, instant))])
    store.close()
    both = curious(plan, (variant, 0.5))
    router = Router(both)
    found = answer(router, request(ROWS))
    router.close()
    assert set(found.versions) == {"1"}
    assert not found.degraded.any()
    lines = logged(both)
    assert lines.filter("answered").height == ROWS
    failed = lines.filter(~pl.col("answered"))
    assert set(failed["variant"]) == ({"canary"} if variant == "canary" else set())
    assert set(failed["history__status"]) <= {"not_read"}


def test_requests_wait_apart_only_where_versions_read_other_views(plan: Plan, routers: list[Router]) -> None:
    alike = beside(plan, ("canary", version(plan, "2"), 0.5))
    shadowed, previous = curious(plan, ("shadow", 1.0)), curious(plan, ("previous", 0.0))
    for one in (plan, alike, shadowed, previous):
        routers.append(router := Router(one))
        assert not router.waits_for(request(5))
    assert router.waits_for(request(1, probe=True, version="2")) == {("aircraft", "runway", "history")}
    assert not router.waits_for(request(1, probe=True))
    routers.append(router := Router(curious(plan, ("canary", 0.5))))
    waits = {router.waits_for(request(1, first=n)) for n in range(20)}
    assert waits == {frozenset([("aircraft", "runway")]), frozenset([("aircraft", "runway", "history")])}
    assert len(router.waits_for(request(ROWS))) == 2


def test_a_lane_that_is_full_refuses_and_another_one_goes_on() -> None:
    held, done = threading.Event(), list[str]()

    def work(items: Sequence[str]) -> None:
        if "slow" in items:
            held.wait(10)
        done.extend(items)

    lanes = Lanes[str](work)
    taken = sum(lanes.put("slow", "slow") for _ in range(3 * WAITING))
    assert WAITING <= taken < 2 * WAITING
    assert lanes.put("fast", "fast")
    until = time.monotonic() + 5
    while "fast" not in done and time.monotonic() < until:
        time.sleep(0.01)
    assert done == ["fast"]
    held.set()
    lanes.close()
    assert done.count("slow") == taken


def test_a_lane_goes_on_after_what_it_could_not_answer(capfd: pytest.CaptureFixture[str]) -> None:
    done = list[str]()

    def work(items: Sequence[str]) -> None:
        if "bad" in items:
            raise RuntimeError("no answer")
        done.extend(items)

    lanes = Lanes[str](work)
    lanes.put("lane", "bad")
    until = time.monotonic() + 5
    while "no answer" not in (told := capfd.readouterr().err) and time.monotonic() < until:
        time.sleep(0.01)
    assert told == "1 requests were not answered: no answer\n"
    lanes.put("lane", "good")
    lanes.close()
    assert done == ["good"]
