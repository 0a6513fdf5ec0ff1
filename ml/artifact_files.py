"""Files that MLflow keeps, as files of this machine: where they lie, or downloaded from a server or an object store.

Not here: which files a version has (ml/registry.py).
"""

import os
import tempfile
from hashlib import sha256
from pathlib import Path
from urllib.parse import unquote, urlparse

_MISSING = (
    "404",
    "NoSuchKey",
    "NoSuchBucket",
    "Not Found",
    "does not exist",
    "No such file",
    "RESOURCE_DOES_NOT_EXIST",
)


def place_of(root: str | Path, name: str) -> str:
    """Return where files of `name` go under a root, which is a folder or an address."""
    return f"{str(root).rstrip('/')}/{name}" if is_remote(root) else str((Path(root) / name).absolute())


def is_remote(place: str | Path) -> bool:
    """Return whether a place is not a folder of this machine."""
    return urlparse(str(place)).scheme not in ("", "file")


def local_folder(place: str) -> Path:
    """Return the folder that a place on this machine is. Raises LookupError if it is elsewhere."""
    if is_remote(place):
        raise LookupError(f"artifacts at {place} are not on this machine; download them with MLflow first")
    parsed = urlparse(place)
    return Path(unquote(parsed.path) if parsed.scheme else place)


def local_file(place: str, file: str, tracking_uri: str, cache: Path) -> Path:
    """Return a file kept at a place; one that is elsewhere is downloaded into `cache`, each time, in one step.

    Raises FileNotFoundError, naming it, if there is none, and what MLflow or the store's client raises if they fail.
    """
    if not is_remote(place):
        path = local_folder(place) / file
        if not path.is_file():
            raise FileNotFoundError(str(path))
        return path
    kept = cache / sha256(place.encode()).hexdigest()[:16] / file
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="download-") as folder:
        os.replace(_downloaded(place, file, tracking_uri, folder), kept)
    return kept


def _downloaded(place: str, file: str, tracking_uri: str, folder: str) -> Path:
    from mlflow.artifacts import download_artifacts

    address = f"{place.rstrip('/')}/{file}"
    try:
        found = Path(download_artifacts(address, dst_path=folder, tracking_uri=tracking_uri))
    except Exception as error:  # each store's client has its own
        if any(word in str(error) for word in _MISSING):
            raise FileNotFoundError(address) from error
        raise
    if not found.is_file():  # MLflow makes an empty folder of what is not there
        raise FileNotFoundError(address)
    return found
