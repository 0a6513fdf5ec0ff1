"""One training run in MLflow: what is recorded while it goes on, and the model that it registers last.

Here: writing to a run that `ml.registry.Registry.recording` opened. Not here: finding versions, aliases.
"""

import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ml.onnx_file import ONNX_SHA256, file_hash
from ml.run_facts import TrainingSet, shortened

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.tracking import MlflowClient

ONNX_FILE = "model.onnx"

OURS = {"headwater": "model"}  # tag of a registered model: Headwater made it
DESCRIPTION_LENGTH = 5000  # MLflow's limits
_TAG_LENGTH = 5000
_PARAMS_AT_ONCE = 100


@dataclass(frozen=True)
class Recording:
    """An open run of the model `name`. What is recorded shows at once; a version only after `register`."""

    client: "MlflowClient"
    name: str
    run_id: str

    def params(self, values: Mapping[str, Any]) -> None:
        """Record settings; values are kept as text."""
        from mlflow.entities import Param

        entries = [Param(key, shortened(str(value))) for key, value in values.items()]
        for start in range(0, len(entries), _PARAMS_AT_ONCE):
            self.client.log_batch(self.run_id, params=entries[start : start + _PARAMS_AT_ONCE])

    def tags(self, values: Mapping[str, Any]) -> None:
        """Record provenance; values are kept as text, None is left out."""
        from mlflow.entities import RunTag

        self.client.log_batch(self.run_id, tags=[RunTag(key, text) for key, text in as_text(values).items()])

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Record numbers, at an epoch or, for final ones, at step 0."""
        for key, value in values.items():
            self.client.log_metric(self.run_id, key, float(value), step=step)

    def learns_from(self, rows: TrainingSet) -> None:
        """Record the training set as the run's input, in the context "training"."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        kept = Dataset(rows.name, rows.digest, rows.source_type, rows.source, rows.schema, rows.profile)
        context = InputTag("mlflow.data.context", "training")
        self.client.log_inputs(self.run_id, datasets=[DatasetInput(kept, tags=[context])])

    def artifact(self, path: Path) -> None:
        """Keep a file with the run, under its own name."""
        self.client.log_artifact(self.run_id, str(path))

    def register(
        self,
        onnx_file: Path,
        example: Mapping[str, NDArray[Any]],
        tags: Mapping[str, Any] | None = None,
        output: str = "probability",
        description: str | None = None,
    ) -> str:
        """Store the ONNX file as a model, end the run, register the model and return the new version's number.

        `example` holds a few rows of inputs, each [N, 1]; `output` is the graph's; `description` is Markdown of at
        most DESCRIPTION_LENGTH characters. The version is created last, with all that it bears, in one transaction:
        if anything fails before, there is none; if there is one, nothing is missing.
        """
        if description is not None and len(description) > DESCRIPTION_LENGTH:
            raise ValueError(f"description has {len(description)} characters; MLflow keeps {DESCRIPTION_LENGTH}")
        model = self._store(onnx_file, example, output)
        self._name_model()
        self.client.set_terminated(self.run_id, "FINISHED")
        # The address models:/<id> would be looked up in MLflow's global store, not in this one.
        entry = self.client.create_model_version(
            self.name,
            model.artifact_location,
            self.run_id,
            tags=as_text({**(tags or {}), ONNX_SHA256: file_hash(onnx_file)}),
            description=description,
            model_id=model.model_id,
        )
        return str(entry.version)

    def _store(self, onnx_file: Path, example: Mapping[str, NDArray[Any]], output: str) -> "LoggedModel":
        from mlflow.entities import LoggedModelOutput

        experiment = self.client.get_run(self.run_id).info.experiment_id
        model = self.client.create_logged_model(experiment, self.name, source_run_id=self.run_id, model_type="onnx")
        try:
            with tempfile.TemporaryDirectory(prefix="headwater-model-") as folder:
                stored = Path(folder) / "model"
                _save_flavour(stored, onnx_file, example, output, self.run_id, model.model_id)
                self.client.log_model_artifacts(model.model_id, str(stored))
        except BaseException:
            with suppress(Exception):  # the store may be what failed; the first error is the one to see
                self.client.finalize_logged_model(model.model_id, "FAILED")
            raise
        self.client.finalize_logged_model(model.model_id, "READY")
        self.client.log_outputs(self.run_id, [LoggedModelOutput(model.model_id, 0)])
        return model

    def _name_model(self) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self.client.create_registered_model(self.name, tags=OURS)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise


def as_text(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the values as MLflow keeps tags: text, cut to its limit, without those that are None."""
    return {key: str(value)[:_TAG_LENGTH] for key, value in values.items() if value is not None}


def _save_flavour(
    folder: Path, onnx_file: Path, example: Mapping[str, NDArray[Any]], output: str, run_id: str, model_id: str
) -> None:
    """Write MLflow's ONNX flavour; model.onnx in it is our file, byte for byte."""
    import mlflow.onnx
    import onnx
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    plain = {name: values.astype(str) if values.dtype == object else values for name, values in example.items()}
    inputs: list[ColSpec | TensorSpec] = [
        TensorSpec(np.dtype(str) if values.dtype.kind == "U" else values.dtype, (-1, 1), name)
        for name, values in plain.items()
    ]
    outputs: list[ColSpec | TensorSpec] = [TensorSpec(np.dtype(np.float32), (-1, 1), output)]
    mlflow.onnx.save_model(
        onnx.load(onnx_file),
        str(folder),
        mlflow_model=Model(run_id=run_id, model_id=model_id),
        signature=ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs)),
        input_example=plain,
        pip_requirements=[f"{name}=={installed_version(name)}" for name in ("onnx", "onnxruntime")],
        save_as_external_data=False,
    )
    shutil.copyfile(onnx_file, folder / ONNX_FILE)
