"""How commands end: what people read, and the status that a shell sees."""

import logging
import signal

import pytest

from assets.command import REFUSALS, in_one_line, interruptible
from checks.guard import GateClosed


@pytest.fixture(autouse=True)
def as_before():
    """Signals and logging as they were."""
    handler, level = signal.getsignal(signal.SIGTERM), logging.getLogger().level
    yield
    signal.signal(signal.SIGTERM, handler)
    logging.getLogger().setLevel(level)


def raising(error):
    raise error


@pytest.mark.parametrize(
    "error", [LookupError("no such\nmodel"), PermissionError("no such model"), GateClosed("no such model")]
)
def test_what_is_refused_is_one_line_and_status_1(error, capsys):
    assert in_one_line(*REFUSALS)(raising)(error) == 1
    assert capsys.readouterr().err == "headwater: no such model\n"


def test_a_bug_keeps_its_traceback():
    with pytest.raises(TypeError):
        in_one_line(*REFUSALS)(raising)(TypeError("a bug"))


def test_an_interrupted_command_says_what_is_left_and_ends_as_shells_expect(capsys):
    assert interruptible("servers are stopped")(raising)(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "\nheadwater: interrupted; servers are stopped\n"


def test_a_long_command_that_fails_says_so_in_one_line(capsys):
    assert interruptible("servers are stopped")(raising)(RuntimeError("the disk\nis gone")) == 1
    assert capsys.readouterr().err == "headwater: the disk is gone\n"


def test_what_a_command_returns_is_its_status():
    assert [in_one_line(*REFUSALS)(lambda: 2)(), interruptible("all")(lambda: 2)()] == [2, 2]
