"""What is published stays whole when publishers die of SIGKILL at any moment."""

import multiprocessing
import os
import random
import signal
import time

import pytest

from ml.clock import RealClock
from ml.lake import Lake
from ml.publication import Publications
from tests.ml.publishing_child import MONTHS, NAME, STEPS, broken, log, publish, publish_for_ever, read_until

KILLS = 40
LONGEST = 0.45  # seconds until a kill: a publication takes about half of it


@pytest.fixture(scope="module")
def processes():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.ml.publishing_child"])
    return context


@pytest.fixture
def home(tmp_path):
    publish(tmp_path, MONTHS, 0)
    return tmp_path


def kill_one(processes, home, first, delay):
    """Let a publisher run for `delay` seconds after its first step, kill it; return step and versions announced."""
    step = processes.Value("i", -1)
    receive, send = processes.Pipe(duplex=False)
    child = processes.Process(target=publish_for_ever, args=(str(home), first, step, send))
    child.start()
    send.close()
    while step.value < 0 and child.is_alive():
        time.sleep(0.001)
    time.sleep(delay)
    assert child.is_alive(), "the publisher failed by itself"
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    announced = []
    while receive.poll():
        try:
            announced.append(receive.recv())
        except EOFError:
            break
    return STEPS[step.value], announced


def test_a_publisher_killed_at_any_moment_leaves_what_is_published_whole(processes, home):
    chance, died_in = random.Random(7), []
    stop, problems = processes.Event(), processes.Queue()
    reader = processes.Process(target=read_until, args=(str(home), stop, problems))
    reader.start()
    for kill in range(KILLS):
        step, announced = kill_one(processes, home, 1 + 1000 * kill, chance.uniform(0, LONGEST))
        died_in.append(step)
        versions = log(home)
        assert set(announced) <= set(versions), "a publication that was announced is lost"
        assert versions == sorted(versions), "the pointer went back"
        assert broken(home) is None, f"killed in step {step}"
    stop.set()
    reader.join()
    found = [problems.get() for _ in range(problems.qsize())]
    assert found[:-1] == [], "a reader saw a part, a mixture or an error"
    assert found[-1] > 0
    assert {"publish", "rebuild"} <= set(died_in), "the kills did not reach the steps that matter"

    version = publish(home, MONTHS, 999_999)
    assert Publications(Lake(home / "lake"), RealClock()).current(NAME).version == version
    assert broken(home) is None
