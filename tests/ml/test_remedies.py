"""A message names what can be done where it is read: `make` beside the Makefile, something else in a cluster."""

import ast
import importlib
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from checks.alert_kinds import KINDS, Alert
from ml import remedies
from ml.settings import Settings
from serving.client import HeadwaterClient
from serving.control import Control

ROOT = Path(__file__).parents[2]
TRITON = ("HEADWATER_TRITON_URL", "HEADWATER_TRITON_REPLICAS")
# Commands of a checkout alone, which start servers and make worlds: nobody runs them in a cluster.
ALERTS = ("alert_kinds.py", "alert_news.py")  # whole sentences, which `Alert.remedy` gives to `remedies`
OF_A_CHECKOUT = re.compile(
    r"assets/(demo|drill|replay|model_ci|services|redis_server|postgres_server|s3_server"
    r"|notebook|reference|scaffold|screenshots|diagrams)"
)


@pytest.fixture(autouse=True)
def beside_the_makefile(monkeypatch):
    for name in ("HEADWATER_ENV", *TRITON):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def cluster(monkeypatch):
    monkeypatch.setenv("HEADWATER_ENV", "k8s")


def recipes():
    """Return the module that each target of the Makefile runs, and its words."""
    text = (ROOT / "Makefile").read_text()
    found = re.findall(r"^([a-z -]+): setup.*\n\t@.*?\$\(PY\) -m (.*)", text, re.MULTILINE)
    return {target: words.replace("$@", target) for targets, words in found for target in targets.split()}


@pytest.mark.parametrize("target", sorted(set(remedies.COMMANDS) - {"mlflow", "status"}))
def test_each_command_is_what_the_makefile_runs(target):
    module, words = remedies.COMMANDS[target]
    recipe = recipes()[target]
    assert recipe.startswith(module)
    assert set(words) <= set(re.findall(r"\$\((?:if \$\()?([A-Z]+)\)", recipe))
    assert [flag for flag in words.values() if flag and flag not in recipe] == []
    importlib.import_module(module.split()[0])


def test_a_command_is_told_as_it_can_be_run_here(cluster):
    told = remedies.here(
        'make rollback NAME=flight_delay WHY="it lies" goes back, make quarantine TABLE=a/b MONTH=2013-03'
    )
    assert told == (
        'python -m assets.rollout rollback flight_delay --why "it lies" goes back, '
        "python -m assets.quarantine a/b --partition 2013-03 (in a pod of the code server)"
    )
    assert remedies.here("make the bucket") == "make the bucket"


def test_beside_the_makefile_it_is_told_as_it_is_written():
    assert remedies.here("make status shows who answers") == "make status shows who answers"


def test_a_client_in_a_cluster_is_not_told_of_commands_that_are_not_there(cluster):
    with pytest.raises(ConnectionError, match="kubectl get pods") as error:
        HeadwaterClient("127.0.0.1:1", timeout=0.3).fields("flight_delay")
    assert "make" not in str(error.value)


@pytest.mark.parametrize("name", TRITON)
def test_who_asks_a_triton_of_others_is_not_told_to_start_one(monkeypatch, tmp_path, name):
    monkeypatch.setenv(name, "127.0.0.1:1")
    with pytest.raises(ConnectionError, match="see that it runs there, or name another: HEADWATER_TRITON_URL"):
        Control(Settings(home=tmp_path), "127.0.0.1:1").require_live()
    assert "server start" not in remedies.recover_triton()


def test_an_address_of_another_machine_is_not_started_here():
    assert "make start" not in remedies.start_triton("triton.example:8001")
    assert remedies.start_triton("127.0.0.1:8001") == "start it with make start"


def test_an_alert_s_remedy_can_be_followed_in_a_cluster(cluster):
    at = datetime(2013, 3, 1, tzinfo=UTC)
    held = Alert("check_failed", "raw/flights", "", at, 0, partition="2013-03").remedy
    assert "python -m assets.quarantine raw/flights --partition 2013-03 shows what is held" in held
    waits = Alert("waiting", "x/model", "", at, 0, hint="make approve NAME=x VERSION=3 STEP=champion").remedy
    assert waits == "python -m assets.approve x 3 champion (in a pod of the code server)"
    assert [k for k in KINDS if "make" in Alert(k, "x/model", "", at, 0).remedy] == []


def messages(path):
    """Yield the texts of a module that are neither documentation nor given to `remedies`."""
    tree = ast.parse(path.read_text())
    aside = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("remedies."):
            aside |= {id(inner) for word in node.args for inner in ast.walk(word)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in aside:
            yield node.value


def test_no_message_names_a_target_of_the_makefile_past_the_one_place():
    targets = re.findall(r"^([a-z0-9-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = re.compile(rf"\bmake ({'|'.join(targets)})\b|serving\.server start")
    found = [
        f"{path.relative_to(ROOT)}: {text}"
        for folder in ("ml", "serving", "checks", "assets")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path.name not in ("remedies.py", *ALERTS) and not OF_A_CHECKOUT.match(str(path.relative_to(ROOT)))
        for text in messages(path)
        if named.search(text)
    ]
    assert found == []
