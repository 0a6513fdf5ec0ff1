"""The bytes of a version's ONNX files: their hash is recorded when it is registered, and asked before it is trusted.

Standard library only. Not here: where the file is (ml/registry.py), whether it answers right (ml/export.py).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ml.model_version import ModelVersion

ONNX_SHA256 = "onnx_sha256"  # tag of a version: hash of the file that was proven equal to torch


PROOF_SHA256 = "proof_sha256"  # tag of a refit version: hash of the graph that was measured on held-out rows
PROOF_FILE = "proof.onnx"  # that graph, among its run's artifacts


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_unchanged(version: ModelVersion, path: Path) -> str:
    """Return the hash of the version's file at `path`.

    Raises LookupError if none was recorded when the version was registered, or another one.
    """
    name = f"version {version.version} of model {version.name!r}"
    recorded, found = version.tags.get(ONNX_SHA256), file_hash(path)
    if recorded is None:
        raise LookupError(f"{name} bears no tag {ONNX_SHA256!r}: nobody proved its file; register through ml.train")
    if found != recorded:
        raise LookupError(
            f"{name} was changed under us: {path} has SHA-256 {found[:12]}, registered and proven was {recorded[:12]}; "
            "restore the file or train again"
        )
    return found


def require_proof(version: ModelVersion, path: Path) -> None:
    """Raise LookupError unless the file at `path` is the graph by which a refit version was measured."""
    recorded, found = version.tags.get(PROOF_SHA256), file_hash(path)
    if found != recorded:
        raise LookupError(
            f"the proof of version {version.version} of model {version.name!r} was changed under us: {path} has "
            f"SHA-256 {found[:12]}, measured was {str(recorded)[:12]}; restore the file or train again"
        )
