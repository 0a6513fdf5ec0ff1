"""Which code and packages made something: git commit and uncommitted changes, the lock's hash, versions.

Here: asking git and the installation. Not here: what MLflow keeps of it (ml/run_facts.py).
"""

import hashlib
import platform
import subprocess
from importlib.metadata import version as installed_version
from pathlib import Path

ROOT = Path(__file__).parent.parent
DIFF_FILE = "git.diff"
BUILT_FROM = "COMMIT"  # an image's, which has no git
DIFF_BYTES = 1_000_000  # more than this of uncommitted changes is cut

_MADE_BY = ("ml", "dbt_project")  # folders whose files decide what a model becomes
_PACKAGES = ("torch", "onnxruntime", "onnx", "polars", "numpy", "mlflow")


def git_commit(root: Path = ROOT) -> dict[str, str | bool]:
    """Return {"commit": ..., "dirty": ...}.

    Outside a git checkout the commit is what an image was built from (its file COMMIT), else "unknown".
    """
    commit, status = _git("rev-parse", "HEAD", root=root), _git("status", "--porcelain", root=root)
    return {"commit": (commit or _built_from(root) or "unknown").strip(), "dirty": bool(status)}


def uncommitted(root: Path = ROOT) -> str | None:
    """Return the changes since the last commit as `git diff` prints them, and the names of new files, or None.

    None if nothing is changed, or outside a git checkout. New files are named, under ml/ and dbt_project/, and not
    shown: they may hold anything. At most DIFF_BYTES bytes of changes, the rest is counted.
    """
    changes = (_git("diff", "HEAD", root=root) or "").encode()
    new = (_git("ls-files", "--others", "--exclude-standard", "--", *_MADE_BY, root=root) or "").splitlines()
    if not changes and not new:
        return None
    text = changes[:DIFF_BYTES].decode(errors="replace")
    if len(changes) > DIFF_BYTES:
        text += f"\n# cut: {len(changes) - DIFF_BYTES:,} more bytes of changes\n"
    return text + "".join(f"# new, not committed: {name}\n" for name in new)


def lock_hash() -> str:
    """Return the SHA-256 of the platform's lock."""
    return hashlib.sha256((ROOT / "requirements" / "platform.lock").read_bytes()).hexdigest()


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that a model's numbers come from."""
    return {"python": platform.python_version(), **{name: installed_version(name) for name in _PACKAGES}}


def _built_from(root: Path) -> str:
    file = root / BUILT_FROM
    return file.read_text() if file.exists() else ""


def _git(*arguments: str, root: Path = ROOT) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, errors="replace", timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
