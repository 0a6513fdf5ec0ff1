"""What is published stays whole when publishers die of SIGKILL at any moment."""

import multiprocessing
import os
import random
import signal
import time
from contextlib import suppress

import pytest

from ml.clock import RealClock
from ml.lake import Lake
from ml.publication import Publications
from tests.ml.publishing_child import MONTHS, NAME, STEPS, broken, log, publish, publish_for_ever, read_until

KILLS = 40


@pytest.fixture(scope="module")
def processes():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.ml.publishing_child"])
    return context


@pytest.fixture
def home(tmp_path):
    publish(tmp_path, MONTHS, 0)
    return tmp_path


class Publisher:
    """A process that publishes until it is killed."""

    def __init__(self, processes, home, first):
        self.step = processes.Value("i", -1)
        self.receive, send = processes.Pipe(duplex=False)
        self.process = processes.Process(target=publish_for_ever, args=(str(home), first, self.step, send))
        self.process.start()
        send.close()
        while self.step.value < 0 and self.process.is_alive():
            time.sleep(0.001)

    def reach(self, step):
        """Wait until it is in a step."""
        while STEPS[self.step.value] != step and self.process.is_alive():
            pass

    def kill(self):
        """Kill it; return the step it died in and the versions that it had announced."""
        assert self.process.is_alive(), "the publisher failed by itself"
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join()
        announced = []
        with suppress(EOFError):
            while self.receive.poll():
                announced.append(self.receive.recv())
        return STEPS[self.step.value], announced


def span_of_two_publications(processes, home):
    """Return how many seconds a new publisher takes here for its first two, so that kills fall all over them."""
    publisher, started = Publisher(processes, home, 1), time.monotonic()
    publisher.receive.recv(), publisher.receive.recv()
    seconds = time.monotonic() - started
    publisher.kill()
    return seconds


def test_a_publisher_killed_at_any_moment_leaves_what_is_published_whole(processes, home):
    chance, died_in = random.Random(7), []
    stop, problems = processes.Event(), processes.Queue()
    reader = processes.Process(target=read_until, args=(str(home), stop, problems))
    reader.start()
    span = span_of_two_publications(processes, home)
    for kill in range(1, 1 + KILLS):
        publisher = Publisher(processes, home, 1 + 1000 * kill)
        time.sleep(chance.uniform(0, span))
        if kill % 2:  # a step may be too short for a moment chosen at random to fall in it
            publisher.reach(chance.choice(STEPS))
        step, announced = publisher.kill()
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
