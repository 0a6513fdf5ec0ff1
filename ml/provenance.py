"""Which code made something: the git commit and whether the tree had uncommitted changes, and the lock's hash."""

import hashlib
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent


def git_commit() -> dict[str, str | bool]:
    """Return {"commit": ..., "dirty": ...}; commit is "unknown" outside a git checkout."""
    commit, status = _git("rev-parse", "HEAD"), _git("status", "--porcelain")
    return {"commit": (commit or "unknown").strip(), "dirty": bool(status)}


def lock_hash() -> str:
    """Return the SHA-256 of the platform's lock."""
    return hashlib.sha256((ROOT / "requirements" / "platform.lock").read_bytes()).hexdigest()


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
