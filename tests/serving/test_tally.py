"""What is counted where a server cannot be made to fail so."""

from pathlib import Path

import pytest

from serving.answer import Answer
from serving.router import Router
from serving.tally import Tally
from tests.serving.example import example_plan, write_graph, write_world
from tests.serving.versions import beside, request, version


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_a_canary_s_failed_rows_are_its_own_and_the_champion_s_answers_the_champion_s(
    tmp_path: Path, scale: float
) -> None:
    write_world(tmp_path)
    plan = example_plan(tmp_path)
    write_graph(Path(plan.champion.onnx), -2.5, plan.champion.inputs)
    router, tally = Router(beside(plan, ("canary", version(plan, "2", scale=scale), 0.5))), Tally()
    router.watchers.append(tally)
    (found,) = router.answer([request(200)])
    router.close()
    assert isinstance(found, Answer)
    counted = {labels: (name, n) for (name, labels), n in tally.take().items() if name.endswith("rows_total") and n}
    canary = found.variants.count("canary")
    if scale == 1.0:
        assert counted["2", "canary"] == ("headwater_router_rows_total", canary)
        assert counted["1", "champion"] == ("headwater_router_rows_total", 200 - canary)
    else:
        assert counted["2", "canary"][0] == "headwater_router_failed_rows_total"
        assert 60 < counted["2", "canary"][1] < 140
        assert counted["1", "champion"] == ("headwater_router_rows_total", 200)


def test_a_store_that_is_down_makes_degraded_rows(tmp_path: Path) -> None:
    write_world(tmp_path)
    plan = example_plan(tmp_path)
    write_graph(Path(plan.champion.onnx), -2.5, plan.champion.inputs)
    router, tally = Router(plan), Tally()
    router.watchers.append(tally)
    for path in tmp_path.glob("online.db*"):
        path.unlink()
    Path(plan.online_store).mkdir()
    router.answer([request(200)])
    router.close()
    grown = tally.take()
    assert grown["headwater_router_degraded_rows_total", ()] == 200
    assert grown["headwater_router_view_rows_total", ("runway", "not_read")] == 200
