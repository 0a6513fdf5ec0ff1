"""Every command of README and docs that can run here is run, on a copy of what the demo left; the others say why not.

The rules stand below, in the order in which they run. A command that meets none fails, and so does a rule that nothing
meets. Names of targets alone are commands only where no page shows the target with what it takes.
"""

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from assets.reference_settings import targets
from tests.docs import ROOT, Command, commands
from tests.line.conftest import Line, interrupt, move_addresses, some_ports

pytestmark = pytest.mark.timeout(300)


@dataclass(frozen=True)
class Runs:
    """A command that runs on the reader's home within so many seconds, and what it must say (a regular expression).

    `status` is its exit status: examples that name what the demo has not are refused, in one line.
    """

    command: str
    says: str
    status: int = 0
    seconds: float = 60


@dataclass(frozen=True)
class Serves:
    """A command that runs until Ctrl-C; `says` is what it prints once it is there."""

    command: str
    says: str
    seconds: float = 60


@dataclass(frozen=True)
class Elsewhere:
    """A command that another test runs as it stands, or the same with other words."""

    command: str
    test: str


@dataclass(frozen=True)
class NotHere:
    """A command that cannot or shall not run in a test, and why."""

    command: str
    why: str


CLUSTER = "needs a cluster, and images in a registry; the chart is tested in tests/deploy"
MINUTES = "takes minutes, and measures: results stand in docs/benchmarks.md"

RULES: tuple[Runs | Serves | Elsewhere | NotHere, ...] = (
    Runs(r"make setup", ""),
    Runs(r"\.venv/bin/python -m serving\.server start", r"flight_delay: version 1"),
    Runs(r"make start", r"flight_delay: version 1"),
    Runs(r"make status", r"flight_delay revision 1: version 1 .*answers"),
    Runs(r"python -m serving\.server status", r"Triton live"),
    Runs(r"\.venv/bin/python -m serving\.client flight_delay .*", r"probability"),
    Runs(r"make ask NAME=flight_delay ROWS=5", r"asked at \(UTC\) +probability", seconds=120),
    Runs(r"make plan NAME=flight_delay", r"plan: model flight_delay"),
    Runs(r"make views NAME=aircraft_state", r"aircraft_state +1 .*flight_delay version 1 \(champion\) +as recorded"),
    Runs(r"make monitor NAME=flight_delay", r"outcomes"),
    Runs(r"make scores NAME=flight_delay MONTH=2013-10", r"scores\[2013-10\]"),
    Runs(r"make table NAME=flights MONTH=2013-03", r"raw +up to date\n\nraw/flights\[2013-03\] has 28,834 rows"),
    Elsewhere(r"make table NAME=(river_gauges|gauge_levels)", "tests/line/test_own_data.py"),
    Runs(r"make quarantine( .*)?", r"Nothing is in quarantine"),
    Runs(r"make overrides", r"No override was ever granted"),
    Runs(r"\.venv/bin/python -m assets\.override .* --why .*", r"no failed check history on raw/flights\[2013-03\]", 1),
    Runs(r"\.venv/bin/python -m assets\.override .* --end", r"no override .* is in force"),
    Runs(r"make alerts TEST=1", r"file: took the test"),
    Runs(r"make alerts( DRY=1)?", r"file: "),
    Runs(r"make trace COLUMN=.*", r"weather_observation"),
    Runs(r"make drift NAME=origin_congestion MONTH=2013-09", r"DRIFT: origin_congestion 2013-09"),
    Runs(r"make drift NAME=flight_delay VERSION=1", r"flight_delay version 1 serves"),
    Runs(r"make (canary|shadow) NAME=flight_delay VERSION=3( .*)?", r"no version 3 of model 'flight_delay'", 2),
    Runs(r"make end NAME=flight_delay VERSION=3", r"version 3 of 'flight_delay' does not serve beside", 2),
    Runs(r"make approve NAME=flight_delay VERSION=3 STEP=champion", r"waits for nobody", 2),
    Runs(r"make rollback NAME=flight_delay WHY=.*", r"has no champion before version 1", 2),
    Runs(r"\.venv/bin/python -m assets\.rollback aircraft_state", r"aircraft_state version 0: checks passed.*now"),
    Runs(r"\.venv/bin/python -m assets\.rollback aircraft_state --version 3 .*", r"was never published", 1),
    Runs(r"(\.venv/bin/)?python -m [\w.]+ --help", r"usage: python -m"),
    Runs(r"make bench", r"make bench NAME=pit_join"),
    Runs(r"make help", r"make demo "),
    Runs(r"\.venv/bin/python -c '\nfrom google\.protobuf .*", ""),
    Serves(r"make mlflow", r"MLflow: http://127\.0\.0\.1:\d+"),
    Runs(r"make stop", r"Triton stopped"),
    Elsewhere(r"make demo", "tests/line/test_demo.py"),
    Elsewhere(r"make demo-services", "tests/assets/test_services.py"),
    Elsewhere(r"make ui", "tests/line/test_browser.py"),
    Elsewhere(r"make drill-bad-data", "tests/line/test_drill_bad_data.py"),
    Elsewhere(r"make drill-leak", "tests/line/test_drill_leak.py"),
    Elsewhere(r"make drill-rollback", "tests/line/test_drill_rollback.py"),
    Elsewhere(r"make drill-drift", "tests/line/test_drill_drift.py"),
    Elsewhere(r"make model-ci( .*)?", "tests/assets/test_model_ci_run.py"),
    Elsewhere(r"make trace ID=[0-9a-f]{32}", "tests/line/test_trace.py"),
    Elsewhere(r"make supervise", "tests/serving/test_supervisor.py"),
    Elsewhere(r"make vacuum( DRY=1)?", "tests/assets/test_vacuum.py"),
    Elsewhere(r"make monitor NAME=flight_delay PAGE=2013-10-07", "tests/assets/test_monitoring.py"),
    Elsewhere(r"make (model|ask|monitor) NAME=high_glucose", "tests/line/test_own_data.py"),
    Elsewhere(r"make new-(model|source|feature|outcome)( .*)?", "tests/assets/scaffold/test_command.py"),
    Elsewhere(r"make notebook NAME=.*", "tests/line/test_notebooks.py"),
    Elsewhere(r"make reference", "tests/assets/test_reference.py"),
    Elsewhere(r"python -m assets\.views accept", "tests/assets/test_view_versions.py"),
    Elsewhere(r"python -m serving\.ready --live", "tests/serving/test_replicas.py"),
    Elsewhere(r"(python|\.venv/bin/python) -m ml\.train --model flight_delay .*", "tests/ml/test_train_command.py"),
    NotHere(r"make test", "this is it"),
    NotHere(r"make (lint|types|imports)", "make test runs them beside these tests"),
    NotHere(r"make format", "it writes in the repository; make lint asks for the same"),
    NotHere(r"\.venv/bin/jupyter nbconvert .*", "it writes in the repository's notebooks"),
    NotHere(r"make lab", "it installs JupyterLab, and serves until Ctrl-C"),
    NotHere(r"make screenshots", "minutes of a real browser; it writes docs/images"),
    NotHere(r"make diagrams", "it fetches mermaid from npm; it writes docs/images"),
    NotHere(r"python -m assets\.rollout rollback NAME", "for a pod; make rollback is the same program"),
    NotHere(r"make lock", "it asks the package index, and writes the locks"),
    NotHere(r"make clean", "it deletes caches that the other test process works with"),
    NotHere(r"make test-k8s", "needs a cluster"),
    NotHere(r"make model NAME=(arrival_delay|flight_delay)", "a minute of training; make demo does the same steps"),
    NotHere(r"make (promote|challenger) NAME=flight_delay VERSION=3( .*)?", "the same program as make canary"),
    NotHere(r"make drift NAME=origin_congestion", "the same as with a month"),
    NotHere(r"make scores NAME=flight_delay MONTH=2013-07\.\.2013-10", "four times what one month shows"),
    NotHere(r"make search NAME=flight_delay MINUTES=10", "ten minutes; tests/ml/test_search_command.py searches"),
    NotHere(r"make replay", "half an hour"),
    NotHere(r"make spark( .*)?", "a minute of the JVM; tests/ml/test_spark_store.py joins there"),
    NotHere(r"make bench NAME=.*", MINUTES),
    NotHere(r"\.venv/bin/evidently ui .*", "it serves on a port of its own choice, which may be taken"),
    NotHere(r"(kubectl|helm) .*", CLUSTER),
    NotHere(r"grpcurl .*", "grpcurl is not installed here"),
)


def shown() -> list[Command]:
    """Return each command once. A target's name alone counts in a block, or where no page shows more of the target."""
    once: dict[str, Command] = {}
    for command in sorted(commands(), key=lambda command: not command.fenced):
        if not command.template:
            once.setdefault(command.text, command)
    takes = {f"make {name}": parameters for name, parameters, _ in targets((ROOT / "Makefile").read_text())}
    with_more = {" ".join(text.split()[:2]) for text, command in once.items() if not command.names_only}
    bare = {name for name, parameters in takes.items() if not parameters or name not in with_more}
    return [command for text, command in once.items() if command.fenced or not command.names_only or text in bare]


def rule_of(command: Command) -> int | None:
    """Return the number of the first rule that a command meets."""
    return next((n for n, rule in enumerate(RULES) if re.fullmatch(rule.command, command.text, re.DOTALL)), None)


RULED = {command: rule_of(command) for command in shown()}
TRIED = sorted(
    (n, command.text, command) for command, n in RULED.items() if n is not None and isinstance(RULES[n], Runs | Serves)
)


@pytest.fixture(scope="module")
def reader(line: Line, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """The home of somebody who reads the docs and types what they say, with a Triton of its own."""
    home = tmp_path_factory.mktemp("reader") / "home"
    shutil.copytree(line.home, home, ignore=shutil.ignore_patterns("logs", "server"))
    made = Line(home, some_ports())
    move_addresses(line.settings, made.settings)
    started = made.command(".venv/bin/python", "-m", "serving.server", "start")
    assert started.returncode == 0, started.stderr
    yield made
    made.command("make", "stop")


def test_every_command_is_run_or_says_why_not():
    assert [(command.page, command.text) for command, rule in RULED.items() if rule is None] == []


def test_every_rule_has_a_command():
    assert [RULES[n].command for n in range(len(RULES)) if n not in RULED.values()] == []


def test_every_target_is_run_or_says_why_not():
    names = {command.text.split()[1] for command in RULED if command.text.startswith("make ")}
    assert {name for name, _, _ in targets((ROOT / "Makefile").read_text())} - names == set()


def test_what_is_said_to_run_elsewhere_has_a_test_there():
    named = [rule.test for rule in RULES if isinstance(rule, Elsewhere)]
    assert [test for test in named if not (ROOT / test).exists()] == []


@pytest.mark.parametrize(
    ("rule", "command"), [(RULES[n], command) for n, _, command in TRIED], ids=lambda value: getattr(value, "text", "")
)
def test_the_command_does_what_its_page_says(reader, tmp_path, rule, command):
    script = "\n".join([*_exports(command, reader.home), _at_home(command.text, reader.home, tmp_path)])
    if isinstance(rule, Serves):
        _serve(reader, script, rule)
        return
    done = reader.command("bash", "-c", script, timeout=rule.seconds)
    told = done.stdout + done.stderr
    assert done.returncode == rule.status, told
    assert re.search(rule.says, told), told
    assert "Traceback" not in told


def _serve(reader: Line, script: str, rule: Serves) -> None:
    process, told, until = reader.start("bash", "-c", script), "", time.monotonic() + rule.seconds
    try:
        while not re.search(rule.says, told):
            assert time.monotonic() < until, told
            assert process.poll() is None, told
            told += process.stdout.readline()
    finally:
        interrupt(process)
        try:
            process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def _exports(command: Command, home: Path) -> list[str]:
    """Return what stands above a command in its block, but for what must be filled in."""
    return [_at_home(line, home, home) for line in command.exports if not Command("", line).template]


def _at_home(text: str, home: Path, scratch: Path) -> str:
    """Return a command for another home, with this Python, and what it writes beside it in a folder of the test's."""
    text = text.replace("$PWD/.headwater", str(home)).replace("triton.protoset", str(scratch / "triton.protoset"))
    return re.sub(r"^python ", ".venv/bin/python ", text)
