"""`make model-ci` on a real change, in a clone of this repository: worse, within noise, an error, and interrupted."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from assets.model_ci_trees import checked_out, resolve
from tests.assets.small_line import copy_repository, cut_down

ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.timeout(1800)
VIEWS = ("aircraft_state", "origin_congestion", "destination_congestion")


def test_a_base_is_checked_out_for_a_while_only(tmp_path):
    before = git("worktree", "list")
    with checked_out(resolve("HEAD"), tmp_path / "tree") as tree:
        assert (tree / "ml" / "spec.py").exists()
        assert str(tree) in git("worktree", "list")
    assert not tree.exists()
    assert git("worktree", "list") == before


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--base", "no-such-branch"], "no commit 'no-such-branch'"),
        (["--window", "2014-05..2014-06"], r"no span of months of a source \(2013-01 to 2013-12\)"),
        (["--window", "2013-03..2013-01"], "no span of months"),
        (["no_such_model", "--base", "HEAD"], "no model no_such_model on either side; they have .*flight_delay"),
    ],
)
def test_an_error_is_one_line_and_status_2(words, told, tmp_path):
    done = run(ROOT, tmp_path, *words)
    assert done.returncode == 2
    assert re.search(f"^headwater: .*{told}", done.stderr, re.MULTILINE), done.stderr
    assert "Traceback" not in done.stderr


def git(*words, cwd=ROOT):
    return subprocess.run(["git", *words], cwd=cwd, capture_output=True, text=True, check=True).stdout.strip()


def run(tree, home, *words):
    return subprocess.run(command(*words), cwd=tree, env=env(tree, home), capture_output=True, text=True, timeout=800)


def command(*words):
    return [sys.executable, "-m", "assets.model_ci", *words]


def env(tree, home):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HEADWATER_", "GIT_"))}
    return {**kept, "PYTHONPATH": str(tree), "HEADWATER_HOME": str(home)}


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A clone of this repository with the files as they lie here, but of one model on few views, committed."""
    tree = tmp_path_factory.mktemp("clone") / "tree"
    git("clone", "--quiet", "--no-hardlinks", str(ROOT), str(tree))
    copy_repository(tree)
    cut_down(tree, VIEWS)
    commit(tree, "as it lies there")
    git("branch", "--force", "base", cwd=tree)
    return tree


def commit(tree, message):
    git("add", "--all", cwd=tree)
    git("-c", "user.name=t", "-c", "user.email=t@t", "commit", "--quiet", "--allow-empty", "-m", message, cwd=tree)


def edit(tree, name, old, new):
    path = tree / name
    text = path.read_text()
    assert len(re.findall(old, text)) > 0
    path.write_text(re.sub(old, new, text))


def test_a_change_that_drops_features_is_worse_and_a_second_run_trains_only_the_change(clone, tmp_path_factory):
    """One month, two seeds: a change of docs trains nothing; without delays and the hour, scores fall."""
    home, page = tmp_path_factory.mktemp("home"), clone.parent / "report.md"
    (clone / "README.md").write_text("other words")
    done = run(clone, home, "--base", "base", "--out", str(page))
    assert done.returncode == 0, done.stderr
    assert "Nothing that a model is made by has changed" in page.read_text()

    for dropped in (
        r' {8}"\w+:(?!\w+(_at|_since)).*\n',
        r' {8}RequestField\(name="\w+_local".*\n',
        r', "\w+_local"(?=\))',
    ):
        edit(clone, "ml/models/flight_delay.py", dropped, "")
    words = ["flight_delay", "--base", "base", "--window", "2013-01", "--seeds", "2", "--out", str(page)]
    done = run(clone, home, *words)
    assert done.returncode == 1, done.stdout + done.stderr
    assert page.read_text() in done.stdout
    found = json.loads(page.with_suffix(".json").read_text())["findings"][0]
    assert found["verdict"] == "worse"
    assert found["comparison"]["high"] < 0
    assert found["change"]["score"] < found["base"]["score"] - 0.02
    assert found["base"]["training_set"]["gates"]["leakage"]["passed"]
    assert "The change used the base's world" in page.read_text()
    assert git("worktree", "list", cwd=clone).count("\n") == 0

    git("checkout", "--quiet", "--", ".", cwd=clone)
    again = run(clone, home, *words)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "The base used the kept result of flight_delay" in page.read_text()
    found = json.loads(page.with_suffix(".json").read_text())["findings"][0]
    assert found["verdict"] == "within noise"
    assert found["comparison"]["low"] < 0 < found["comparison"]["high"]
    assert list((home / "model-ci" / "work").iterdir()) == []


def test_a_change_whose_models_cannot_be_read_is_an_error_not_worse(clone, tmp_path):
    git("checkout", "--quiet", "--", ".", cwd=clone)
    edit(clone, "ml/models/flight_delay.py", r"min_score=0.70", "min_score=7")
    done = run(clone, tmp_path, "--base", "base")
    assert done.returncode == 2
    assert re.search(r"^headwater: change: specs: .*min_score", done.stderr, re.MULTILINE), done.stderr
    edit(clone, "ml/split_windows.py", r"class Split\(Frozen\):", "class Split(Frozen:")
    done = run(clone, tmp_path, "--base", "base")
    assert done.returncode == 2
    assert re.search(r"^headwater: .*split_windows.py", done.stderr, re.MULTILINE), done.stderr


def test_an_interrupted_run_leaves_no_worktree_no_process_and_nothing_half_done(clone, tmp_path):
    git("checkout", "--quiet", "--", ".", cwd=clone)
    words = command("flight_delay", "--base", "base", "--window", "2013-02", "--seeds", "2")
    process = subprocess.Popen(
        words, cwd=clone, env=env(clone, tmp_path), stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    for line in process.stderr:
        if "landing" in line:
            break
    os.kill(process.pid, signal.SIGINT)
    told = process.stderr.read()
    assert process.wait(60) == 130, told
    assert "headwater: interrupted" in told
    assert git("worktree", "list", cwd=clone).count("\n") == 0
    assert list((tmp_path / "model-ci" / "work").iterdir()) == []
    assert not (tmp_path / "model-ci" / "worlds").exists()
    ours = [p for p in Path("/proc").glob("[0-9]*/environ") if holds(p, f"HEADWATER_HOME={tmp_path}")]
    assert ours == []


def holds(path, text):
    try:
        return text.encode() in path.read_bytes()
    except OSError:
        return False
