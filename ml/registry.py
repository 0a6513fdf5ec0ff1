"""The registry of models: versions and the aliases champion, challenger and previous, in MLflow.

Here: finding and promoting versions, and opening runs (written to in ml/recording.py). Not here: deciding which
version is promoted (checks/) or what Triton serves (serving/). Two registries live side by side in one process; all
that is global is how long MLflow tries a server.
"""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ml.artifact_files import is_remote, local_file, local_folder, place_of
from ml.model_version import ModelVersion
from ml.onnx_file import PROOF_FILE, PROOF_SHA256, require_proof
from ml.postgres import is_postgres, require_postgres
from ml.recording import DESCRIPTION_LENGTH, ONNX_FILE, Recording, as_text
from ml.registry_failures import WHERE, opening, using
from ml.registry_name import require_name
from ml.secret_address import shown

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
PARENT_RUN = "mlflow.parentRunId"  # MLflow's own tag, by which its page nests runs
_CARD_BELOW = "\n\n---\n\n"  # in a version's description: the verdict above, the card below
# MLflow tries a server that is down for minutes: 7 times, 120 s each. What is set outside stays.
_PATIENCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
}


class Registry:
    """MLflow's tracking store and registry at `tracking_uri`, with files under `artifact_root`.

    The store is a file of SQLite, a PostgreSQL or MLflow's server; the root a folder, or an address such as s3:// or
    mlflow-artifacts:/. Files that are not on this machine are downloaded into `cache`, else into a folder that goes
    with this object.
    """

    def __init__(self, tracking_uri: str, artifact_root: str | Path, cache: Path | None = None) -> None:
        self.tracking_uri = tracking_uri
        self.address = shown(tracking_uri)  # for messages
        self.artifact_root = artifact_root
        self._given_cache = cache

    @cached_property
    def client(self) -> "MlflowClient":
        """MLflow's client; connects, and creates what is missing (a SQLite file, PostgreSQL's tables), on first use.

        Raises LookupError if the store cannot be opened.
        """
        from mlflow.tracking import MlflowClient

        for name, value in _PATIENCE.items():
            os.environ.setdefault(name, value)
        for noisy in ("mlflow.store.db.utils", "mlflow.utils.environment", "alembic", "urllib3.connectionpool"):
            logging.getLogger(noisy).setLevel(logging.ERROR)
        if is_postgres(self.tracking_uri):  # MLflow would try for a minute and a half
            require_postgres(self.tracking_uri, "registry", WHERE)
        with opening(self.tracking_uri, self.address):
            if not is_remote(self.artifact_root):
                Path(self.artifact_root).mkdir(parents=True, exist_ok=True)
            if self._file is not None:
                self._file.parent.mkdir(parents=True, exist_ok=True)
            client = MlflowClient(self.tracking_uri, self.tracking_uri)
            client.search_registered_models(max_results=1)
            return client

    @contextmanager
    def recording(
        self,
        name: str,
        tags: Mapping[str, Any] | None = None,
        title: str | None = None,
        parent: str | None = None,
    ) -> Iterator[Recording]:
        """Open a run of the model `name`, shown as `title`; it ends as FINISHED, FAILED or (interrupted) KILLED.

        `parent` is the id of the run that it is a part of. Raises LookupError if the name is someone else's, and
        instead of MLflow's errors if the store fails meanwhile.
        """
        with self.failures():
            require_name(self.client, name, self.address)
            told = as_text({**(tags or {}), PARENT_RUN: parent})
            run = self.client.create_run(self._experiment(name), tags=told, run_name=title or name)
            status = "KILLED"
            try:
                yield Recording(self.client, name, run.info.run_id)
                status = "FINISHED"
            except Exception:
                status = "FAILED"
                raise
            finally:
                with suppress(Exception):  # a version may exist by now, or an error that says more
                    self.client.set_terminated(run.info.run_id, status)

    @contextmanager
    def failures(self) -> Iterator[None]:
        """Raise what MLflow, its database and its object store raise as one LookupError with the remedy."""
        with using(self.tracking_uri, self.address, self.artifact_root):
            yield

    def champion(self, name: str) -> ModelVersion | None:
        """Return the champion of the model, None if it has none."""
        return self.by_alias(name, CHAMPION)

    def by_alias(self, name: str, alias: str) -> ModelVersion | None:
        """Return the version that bears `alias`, None if none does."""
        found = self.aliases(name).get(alias)
        return None if found is None else self.version(name, found)

    def newest(self, name: str) -> ModelVersion:
        """Return the newest version. Raises LookupError with the remedy if there is none."""
        numbers = self._numbers(name)
        if not numbers:
            raise LookupError(f"no version of model {name!r} in the registry {self.address}; materialize {name}/model")
        return self.version(name, numbers[0])

    def names(self) -> tuple[str, ...]:
        """Return the names of all registered models."""
        if not self.exists:
            return ()
        return tuple(sorted(model.name for model in self.client.search_registered_models(max_results=1000)))

    def aliases(self, name: str) -> dict[str, str]:
        """Return the version that bears each alias of the model."""
        if not self.exists:
            return {}
        found = self.client.search_registered_models(f"name = '{name}'")
        return {alias: str(version) for model in found for alias, version in model.aliases.items()}

    def versions(self, name: str) -> tuple[ModelVersion, ...]:
        """Return all versions of the model, newest first; none if the model is unknown."""
        return tuple(self.version(name, number) for number in self._numbers(name))

    def version(self, name: str, version: str) -> ModelVersion:
        """Return a version. Raises LookupError if it does not exist."""
        entry = self._entry(name, version)
        return ModelVersion(
            name=name,
            version=str(entry.version),
            run_id=entry.run_id,
            tags=dict(entry.tags),
            metrics=dict(self.client.get_run(entry.run_id).data.metrics),
            aliases=tuple(sorted(alias for alias, held in self.aliases(name).items() if held == str(entry.version))),
        )

    def onnx_path(self, version: ModelVersion) -> Path:
        """Return the version's ONNX file, here. Raises LookupError if it is missing."""
        return self._here(self._place(version), ONNX_FILE, version)

    def onnx_address(self, version: ModelVersion) -> str:
        """Return where the version's ONNX file is kept: a path of this machine or an address."""
        place = self._place(version)
        return f"{place}/{ONNX_FILE}" if is_remote(place) else str(local_folder(place) / ONNX_FILE)

    def proof_path(self, version: ModelVersion) -> Path:
        """Return the graph by which the version was measured: its own, unless it was refit since.

        Raises LookupError if the file is missing or was changed.
        """
        if PROOF_SHA256 not in version.tags:
            return self.onnx_path(version)
        path = self.artifact(version, PROOF_FILE)
        require_proof(version, path)
        return path

    def artifact(self, version: ModelVersion, file: str) -> Path:
        """Return a file kept with the version's run, here. Raises LookupError if it is missing."""
        return self._here(self.client.get_run(version.run_id).info.artifact_uri, file, version)

    def end_left_open(self, name: str, run_id: str, tags: Mapping[str, Any]) -> None:
        """Mark a run of the model, and those inside it, as KILLED where they are still open; see `end_inside`."""
        self.end_inside(name, run_id, tags)
        if self.client.get_run(run_id).info.status == "RUNNING":
            self.client.set_terminated(run_id, "KILLED")

    def end_inside(self, name: str, run_id: str, tags: Mapping[str, Any]) -> None:
        """Mark the runs inside a run as KILLED that are still open, their process being gone, with `tags`."""
        inside = f"tags.`{PARENT_RUN}` = '{run_id}' and attributes.status = 'RUNNING'"
        for run in self.client.search_runs([self._experiment(name)], inside, max_results=1000):
            Recording(self.client, name, run.info.run_id).tags(tags)
            self.client.set_terminated(run.info.run_id, "KILLED")

    def run_folder(self, run_id: str) -> Path | None:
        """Return the folder of all that a run keeps, None if it is not on this machine."""
        place = self.client.get_run(run_id).info.artifact_uri
        return None if is_remote(place) else local_folder(place).parent

    def challenge(self, name: str, version: str) -> None:
        """Give the version the alias challenger. Raises LookupError if it does not exist."""
        self.set_aliases(name, {CHALLENGER: version})

    def set_aliases(self, name: str, wanted: Mapping[str, str | None]) -> None:
        """Give each alias to its version, or take it away where that is None; other aliases stay.

        Raises LookupError if a version does not exist; then nothing is changed.
        """
        for known in filter(None, wanted.values()):
            self._entry(name, known)
        held = self.aliases(name)
        for alias, version in wanted.items():
            if version is not None and held.get(alias) != version:
                self.client.set_registered_model_alias(name, alias, version)
            elif version is None and alias in held:
                self.client.delete_registered_model_alias(name, alias)

    def tag(self, version: ModelVersion, tags: Mapping[str, Any]) -> None:
        """Set tags of the version; values are kept as text, None is left out."""
        for key, text in as_text(tags).items():
            self.client.set_model_version_tag(version.name, version.version, key, text)

    def describe(self, version: ModelVersion, verdict: str) -> None:
        """Put a verdict (Markdown) before the model card in what MLflow's page says of the version."""
        card = (self._entry(version.name, version.version).description or "").split(_CARD_BELOW, 1)[-1]
        text = f"{verdict}{_CARD_BELOW}{card}"
        if len(text) > DESCRIPTION_LENGTH:  # whole sections: half a table is none
            text = text[:DESCRIPTION_LENGTH].rpartition("\n## ")[0] or text[:DESCRIPTION_LENGTH]
        self.client.update_model_version(version.name, version.version, text)

    def keep(self, version: ModelVersion, folder: Path, place: str) -> None:
        """Keep the files of `folder` with the version's run, under `place`; files of the same name are replaced."""
        with self.failures():
            self.client.log_artifacts(version.run_id, str(folder), place)

    @property
    def _file(self) -> Path | None:
        address = self.tracking_uri.removeprefix("sqlite:///")
        return None if address == self.tracking_uri else Path(address)

    @property
    def exists(self) -> bool:
        """Whether there is a store to ask; asking must not create a database."""
        return self._file is None or self._file.exists()

    def _place(self, version: ModelVersion) -> str:
        return str(self.client.get_model_version_download_uri(version.name, version.version))

    def _here(self, place: str, file: str, version: ModelVersion) -> Path:
        with self.failures():
            try:
                return local_file(place, file, self.tracking_uri, self._cache)
            except FileNotFoundError as missing:
                raise LookupError(
                    f"version {version.version} of model {version.name!r} lacks {missing}; restore it or train again"
                ) from missing

    @cached_property
    def _cache(self) -> Path:
        if self._given_cache is not None:
            self._given_cache.mkdir(parents=True, exist_ok=True)
            return self._given_cache
        self._folder = TemporaryDirectory(prefix="headwater-artifacts-")  # removed with this object
        return Path(self._folder.name)

    def _numbers(self, name: str) -> list[str]:
        if not self.exists:
            return []
        found = self.client.search_model_versions(f"name = '{name}'", max_results=10_000)
        return sorted((str(entry.version) for entry in found), key=int, reverse=True)

    def _entry(self, name: str, version: str) -> Any:
        from mlflow.exceptions import MlflowException

        if self.exists:
            try:
                return self.client.get_model_version(name, version)
            except MlflowException as error:
                if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    raise
        known = self._numbers(name)
        remedy = f"it has {', '.join(known)}" if known else f"materialize {name}/model"
        raise LookupError(f"no version {version} of model {name!r} in the registry {self.address}; {remedy}")

    def _experiment(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        found = self.client.get_experiment_by_name(name)
        if found is not None:
            return found.experiment_id
        try:
            return self.client.create_experiment(name, artifact_location=place_of(self.artifact_root, name))
        except MlflowException:  # someone else may have created it meanwhile
            found = self.client.get_experiment_by_name(name)
            if found is None:
                raise
            return found.experiment_id
