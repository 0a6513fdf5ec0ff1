"""The two trees that `make model-ci` compares: the base's commit in a folder for a while, and what their files hash to.

Here: git, and which files a model's numbers depend on. Not here: running anything.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ml.fingerprint import json_hash
from ml.provenance import ROOT

LOCK = Path("requirements/platform.lock")
NO_HOOKS = "core.hooksPath=/dev/null"
_DEFAULTS = ("origin/main", "main")

# What training sets are made by: everything in these folders, less what follows. A file that is not named below
# counts, so that at worst a world is built that need not have been.
_WORLD = ("dbt_project", "ml", "checks", "assets")
_TRAINING = frozenset(
    f"ml/{name}.py"
    for name in (
        *("batches", "bootstrap", "calibration", "candidate", "card", "card_pictures", "card_text", "checkpoint"),
        *("cost", "device", "encoded_rows", "encoding", "evaluation", "evidence", "export", "fitted", "held_out"),
        *("importance", "loop", "memory", "network", "objective", "onnx_file", "recording", "registry", "rows"),
        *("run_facts", "running", "scoring", "shares", "slices", "spec", "spill", "split", "step", "task"),
        *("threshold", "train", "training", "validation", "weighted", "world"),
    )
)
_NEITHER = (
    "ml/models/",
    "ml/folds.py",
    "ml/search",
    "ml/seed_comparison.py",
    "assets/model_ci",
    "assets/drill",
    "assets/demo.py",
    "assets/model.py",
    "assets/stages.py",
    "assets/ui.py",
    "assets/vacuum.py",
)


def resolve(base: str | None) -> str:
    """Return the base's commit. None: where the working tree's branch left origin/main, or main.

    Raises LookupError if there is no such commit.
    """
    if not git("rev-parse", "--is-inside-work-tree", check=False):
        raise LookupError(f"{ROOT} is no git checkout; model CI compares it with a commit")
    if base is not None:
        found = _commit(base)
        if found is None:
            raise LookupError(f"no commit {base!r} in {ROOT}; fetch it (git fetch origin), or name another: BASE=main")
        return found
    known = next((name for name in _DEFAULTS if _commit(name)), None)
    if known is None:
        raise LookupError(f"{ROOT} has neither origin/main nor main; name the base: BASE=<branch or commit>")
    left = git("merge-base", "HEAD", known, check=False)
    if not left:
        raise LookupError(f"HEAD and {known} share no commit here; git fetch --unshallow, or name a base: BASE=...")
    return left


@contextmanager
def checked_out(commit: str, tree: Path) -> Iterator[Path]:
    """Have the commit's files in the folder `tree` for a while. It is gone afterwards, and git has forgotten it."""
    git("worktree", "prune", check=False)  # the folders of killed runs
    try:
        git("-c", NO_HOOKS, "worktree", "add", "--quiet", "--detach", str(tree), commit)
        yield tree
    finally:
        git("worktree", "remove", "--force", str(tree), check=False)


def described(commit: str) -> str:
    """Return a commit's short name and subject."""
    return git("log", "-1", "--format=%h %s", commit)


def changed_files(base: Path, change: Path = ROOT) -> list[str]:
    """Return the paths, under the folders that models are made from, whose content differs between the trees."""
    old, new = _contents(base), _contents(change)
    return sorted(name for name in {*old, *new} if old.get(name) != new.get(name))


def world_hash(tree: Path) -> str:
    """Return a hash of everything in the tree that a home's tables and training sets are made by, models apart."""
    return json_hash({name: text for name, text in _contents(tree).items() if name not in _TRAINING})


def training_hash(tree: Path) -> str:
    """Return a hash of everything in the tree that trains, less the models' own files."""
    return json_hash({name: text for name, text in _contents(tree).items() if name in _TRAINING})


def _contents(tree: Path) -> dict[str, str]:
    """Return git's hash of each file that counts, by path: tracked ones and new ones, as they lie in the tree."""
    listed = git("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *_WORLD, tree=tree)
    names = sorted(n for n in set(listed.split("\0")) if n and not n.startswith(_NEITHER) and (tree / n).is_file())
    hashes = git("hash-object", "--no-filters", "--stdin-paths", tree=tree, given="\n".join(names)).split()
    return dict(zip(names, hashes, strict=True))


def _commit(name: str) -> str | None:
    found = git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}", check=False)
    return found or None


def git(*words: str, tree: Path | None = None, check: bool = True, given: str | None = None) -> str:
    """Return what git prints in a tree. Raises LookupError with git's message if it fails and shall not."""
    # Within a hook, git's own variables would point it elsewhere.
    outside = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", *words]
    try:
        done = subprocess.run(command, cwd=tree or ROOT, env=outside, input=given, capture_output=True, text=True)
    except (OSError, ValueError) as error:  # a null byte in a name
        raise LookupError(f"git {words[0]}: {error}") from error
    if done.returncode and check:
        raise LookupError(f"git {words[0]}: {' '.join(done.stderr.split()) or 'failed'}")
    return done.stdout.strip() if done.returncode == 0 else ""
