"""How commands end: what people read, and the status that a shell sees."""

import logging
import shlex
import signal
import subprocess
from importlib import import_module
from pathlib import Path

import pytest

from assets.command import REFUSALS, in_one_line, interruptible, require_given
from checks.guard import GateClosed

ROOT = Path(__file__).parents[2]
NAMES = "NAME=<arrival_delay, cancellation or flight_delay>"
VERSION = "VERSION=<its number in the registry>"


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


def run_as_make_would(monkeypatch, words):
    """Run in this process what the Makefile's recipe for `words` runs."""
    told = subprocess.run(["make", "-n", "-o", "setup", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    _, _, module, *arguments = shlex.split(told.stdout)
    monkeypatch.setattr("sys.argv", [module, *arguments])
    return import_module(module).main()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("model", f"NAME is missing: make model {NAMES}"),
        ("model NAME=nope", f"NAME is 'nope': make model {NAMES}"),
        ("ask ROWS=3", f"NAME is missing: make ask {NAMES}"),
        ("scores MONTH=2013-10", f"NAME is missing: make scores {NAMES} MONTH=2013-10"),
        ("monitor PAGE=2013-10-07", f"NAME is missing: make monitor {NAMES}"),
        (
            "drift MONTH=2013-09",
            "NAME is missing: make drift NAME=<a feature view, arrival_delay, cancellation or flight_delay>",
        ),
        *((f"{step} VERSION=3", f"NAME is missing: make {step} {NAMES} VERSION=3") for step in ("promote", "end")),
        *(
            (f"{step} NAME=flight_delay", f"VERSION is missing: make {step} NAME=flight_delay {VERSION}")
            for step in ("canary", "challenger", "shadow")
        ),
        (
            "notebook NAME=nope",
            "NAME is 'nope': make notebook NAME=<drift_review, explore or model_review>",
        ),
        (
            "notebook NAME=model_review MODEL=nope",
            "MODEL is 'nope': make notebook NAME=model_review MODEL=<arrival_delay, cancellation or flight_delay>",
        ),
        ("trace", "ID is missing: make trace ID=<a prediction_id; or give COLUMN=raw/weather.visib in its place>"),
        ("rollback", f"NAME is missing: make rollback {NAMES}"),
        (
            "approve NAME=flight_delay VERSION=3",
            "STEP is missing: make approve NAME=flight_delay VERSION=3 STEP=<canary or champion>",
        ),
    ],
)
def test_a_variable_that_is_missing_is_told_as_make_takes_it(words, told, monkeypatch, capsys):
    with pytest.raises(SystemExit) as ended:
        run_as_make_would(monkeypatch, words.split())
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"headwater: {told}\n"


def test_a_page_of_what_is_no_day_is_refused_before_anything_runs(monkeypatch, capsys):
    with pytest.raises(SystemExit) as ended:
        run_as_make_would(monkeypatch, ["monitor", "NAME=flight_delay", "PAGE=2013-13-07"])
    assert ended.value.code == 2
    assert "'2013-13-07' is no day; write it like 2013-10-07" in capsys.readouterr().err


def test_in_a_cluster_a_missing_variable_is_told_as_a_pod_takes_it(monkeypatch, capsys):
    monkeypatch.setenv("HEADWATER_ENV", "k8s")
    with pytest.raises(SystemExit):
        require_given("promote", NAME=("", ["a", "b", "c"]), VERSION=("3", "its number"))
    assert "python -m assets.rollout promote <a, b or c> 3 (in a pod" in capsys.readouterr().err
