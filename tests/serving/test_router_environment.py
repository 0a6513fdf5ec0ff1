"""What runs inside Triton needs nothing but the serving environment."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from ml.settings import Settings
from serving.log_reader import log_schema, read_new
from tests.redis_server import RedisServer
from tests.serving.example import RAW, example_plan, score_directly, write_graph, write_world

# Runs in the serving environment: loads a plan, answers requests and prints what came of it.
_SCRIPT = """
import json, sys
import numpy as np
from pathlib import Path
from serving.plan_json import load_plan
from serving.answer import Request
from serving.router import Router

def column(value):
    return np.array([[value]], dtype=object if isinstance(value, bytes) else float)

router = Router(load_plan(Path(sys.argv[1])))
router.self_test()
row = json.loads(sys.argv[2])
good = {name: column(value.encode() if isinstance(value, str) else value) for name, value in row.items()}
bad = {"distance": np.inf, "origin": b"\\xff", "runway": 4.5}
wrong = [{**good, name: column(value)} for name, value in bad.items()]
lacking = {name: value for name, value in good.items() if name != "tailnum"}
answers = router.answer([Request(good), *map(Request, wrong), Request(lacking), Request(good, probe=True)])
router.close()
platform = {"polars", "pydantic", "feast", "tritonclient", "dagster", "pandas"} & set(sys.modules)
print(json.dumps({
    "numpy": np.__version__,
    "platform": sorted(platform),
    "answers": [str(a) if isinstance(a, Exception) else float(a.value[0, 0]) for a in answers],
}))
"""


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def outcome(
    request: pytest.FixtureRequest, shared_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, object]:
    home = tmp_path_factory.mktemp("home")
    if shared_redis.process is None:
        shared_redis.start()
    address = shared_redis.address if request.param == "redis" else ""
    write_world(home, online_store=address)
    plan = example_plan(home, online_store=address)
    write_graph(Path(plan.champion.onnx), -2.5, plan.champion.inputs)
    (home / "plan.json").write_text(plan.to_json())
    row = {"tailnum": "N1", "runway": 4, **{name: value for name, value in RAW.items() if "__" not in name}}
    python = Settings().serving_python
    assert python.exists(), f"no serving environment at {python}; run make setup"
    run = subprocess.run(
        [python, "-c", _SCRIPT, home / "plan.json", json.dumps(row)],
        env={"PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    lines, _ = read_new(Path(plan.prediction_log), log_schema(plan))
    expected = score_directly(Path(plan.champion.onnx), plan.champion.inputs, RAW)
    return {**json.loads(run.stdout), "log": lines.to_dicts(), "expected": expected}


def test_the_router_runs_on_numpy_1_without_the_platform_s_packages(outcome: dict[str, object]) -> None:
    assert str(outcome["numpy"]).startswith("1.")
    assert outcome["platform"] == []


def test_a_bad_request_gets_its_own_error_and_its_batch_answers(outcome: dict[str, object]) -> None:
    expected = outcome["expected"]
    assert outcome["answers"] == [
        expected,
        "input 'distance' is infinite; send NaN for a missing number",
        "input 'origin' is not UTF-8: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte",
        "input 'runway' is 4.5; the join key is a whole number up to 2**53",
        "input 'tailnum' is missing",
        expected,
    ]


def test_a_logged_line_traces_the_answer_back_to_its_inputs(outcome: dict[str, object]) -> None:
    (line,) = outcome["log"]  # type: ignore[misc]
    assert {name: line[name] for name in (*RAW, "tailnum", "runway")} == {**RAW, "tailnum": "N1", "runway": 4}
    assert line["probability"] == outcome["expected"]
    assert len(line["prediction_id"]) == 32
