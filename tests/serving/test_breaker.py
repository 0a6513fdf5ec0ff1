import os
import signal
import time
from pathlib import Path

from serving.answer import Answer
from serving.breaker import Breaker
from serving.router import Router
from tests.redis_server import RedisServer
from tests.serving.example import example_plan, write_graph, write_world
from tests.serving.versions import REQUEST


def test_it_opens_after_failures_in_a_row_tries_once_after_a_rest_and_closes_on_success() -> None:
    breaker = Breaker(failures=2, rest=0.05)
    breaker.record(False)
    assert not breaker.open
    breaker.record(False)
    assert breaker.open
    time.sleep(0.06)
    assert not breaker.open
    breaker.record(False)
    assert breaker.open
    time.sleep(0.06)
    breaker.record(True)
    breaker.record(False)
    assert not breaker.open


def test_nobody_waits_for_a_store_that_hangs_once_it_is_known_to(tmp_path: Path, redis_server: RedisServer) -> None:
    plan = example_plan(tmp_path, online_store=redis_server.address)
    write_world(tmp_path, online_store=redis_server.address)
    write_graph(Path(plan.champion.onnx), -2.5, plan.champion.inputs)
    router = Router(plan)
    assert redis_server.process is not None
    os.kill(redis_server.process.pid, signal.SIGSTOP)
    try:
        waited = []
        for _ in range(12):
            started = time.monotonic()
            (answer,) = router.answer([REQUEST])
            assert isinstance(answer, Answer)
            assert answer.degraded.all()
            waited.append(time.monotonic() - started)
    finally:
        os.kill(redis_server.process.pid, signal.SIGCONT)
    deadline = plan.deadline_ms / 1000
    assert sum(seconds > deadline / 2 for seconds in waited) == 5  # the breaker's failures in a row
    until = time.monotonic() + 10
    while (found := router.answer([REQUEST])[0]) and isinstance(found, Answer) and found.degraded.any():
        assert time.monotonic() < until
        time.sleep(0.05)
    router.close()
