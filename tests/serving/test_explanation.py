import json
from pathlib import Path

import numpy as np
import pytest

from serving.answer import Answer, Request
from serving.explanation import MOST_ROWS
from serving.router import Router
from tests.serving.example import RAW, example_plan, score_directly, write_graph, write_world
from tests.serving.versions import REQUEST


@pytest.fixture
def router(tmp_path: Path):  # type: ignore[no-untyped-def]
    write_world(tmp_path)
    plan = example_plan(tmp_path)
    write_graph(Path(plan.champion.onnx), -2.5, plan.champion.inputs)
    router = Router(plan)
    yield router
    router.close()


def test_an_effect_is_the_answer_minus_what_it_would_be_without_that_input(router: Router) -> None:
    (answer,) = router.answer([Request(REQUEST.tensors, explain=len(RAW))])
    assert isinstance(answer, Answer)
    assert answer.explanation is not None
    effects = json.loads(answer.explanation[0])
    champion = router.plan.champion
    for name in RAW:
        without = score_directly(Path(champion.onnx), champion.inputs, {**RAW, name: None})
        assert effects[name] == pytest.approx(float(answer.value[0, 0]) - without, abs=2e-6)
    sizes = [abs(effect) for effect in effects.values()]
    assert sizes == sorted(sizes, reverse=True)


def test_only_who_asks_gets_an_explanation_and_only_of_few_rows(router: Router) -> None:
    many = Request({n: np.resize(c, (MOST_ROWS + 1, 1)) for n, c in REQUEST.tensors.items()}, explain=3)
    plain, three, refused = router.answer([REQUEST, Request(REQUEST.tensors, explain=3), many])
    assert isinstance(plain, Answer)
    assert plain.explanation is None
    assert isinstance(three, Answer)
    assert len(json.loads(three.explanation[0])) == 3  # type: ignore[index]
    assert f"takes at most {MOST_ROWS} rows" in str(refused)
