"""Triton's control API with deadlines: load, unload, ready, and a probe by a real inference.

Writing what is loaded is in `model_repository`.
"""

import time
from typing import NamedTuple

import numpy as np
from tritonclient.grpc import InferInput

from ml import remedies
from ml.settings import Settings
from serving.channel import open_channel, translated
from serving.credentials import of_control
from serving.probing import probing

LOAD_SECONDS = 60.0
CALL_SECONDS = 5.0


class Probe(NamedTuple):
    """Who answered a probe."""

    revision: int
    model_version: str


class Control:
    """The control side of one Triton server. All errors are those of `serving.channel.translated`."""

    def __init__(self, settings: Settings, url: str = "", name: str = "") -> None:
        """Of the Triton on this machine, or at `url` (host:port), whose certificate is that of `name`."""
        self.url = url or settings.triton_here
        shown = of_control(settings)
        self._probing = probing(shown.control or "")
        self._triton = open_channel(self.url, shown, name)

    def live(self, timeout: float = CALL_SECONDS) -> bool:
        """Whether the server answers within `timeout` seconds."""
        try:
            with translated(self.url, timeout=timeout):
                return bool(self._triton.is_server_live(client_timeout=timeout))
        except (ConnectionError, TimeoutError):
            return False

    def require_live(self) -> None:
        """Raise ConnectionError with the remedy unless the server answers."""
        if not self.live():
            raise ConnectionError(f"no Triton at {self.url}; {remedies.start_triton(self.url)}")

    def load(self, model: str, timeout: float = LOAD_SECONDS) -> None:
        """Load the newest configuration, replacing the one that serves without a gap."""
        with translated(self.url, model, timeout):
            self._triton.load_model(model, client_timeout=timeout)

    def unload(self, model: str, timeout: float = LOAD_SECONDS) -> None:
        """Unload the model and wait until it is gone."""
        with translated(self.url, model, timeout):
            self._triton.unload_model(model, client_timeout=timeout)
        until = time.monotonic() + timeout
        while self.ready(model):
            if time.monotonic() > until:
                raise TimeoutError(f"model {model!r} at {self.url} is not unloaded after {timeout:g} s")
            time.sleep(0.02)

    def ready(self, model: str) -> bool:
        """Whether Triton calls the model ready; a model whose process died still is: prefer `probe`."""
        with translated(self.url, model, CALL_SECONDS):
            return bool(self._triton.is_model_ready(model, client_timeout=CALL_SECONDS))

    def probe(self, model: str, timeout: float = CALL_SECONDS) -> Probe:
        """Ask the champion for one row in which everything is missing (not logged) and return who answered."""
        with translated(self.url, model, timeout):
            metadata = self._triton.get_model_metadata(model, client_timeout=timeout)
            inputs = [_missing(field.name, field.datatype) for field in metadata.inputs]
            result = self._triton.infer(model, inputs, parameters=self._probing, client_timeout=timeout)
        version, revision = result.as_numpy("model_version"), result.as_numpy("plan_revision")
        if version is None or version.size != 1 or revision is None:
            raise RuntimeError(
                f"model {model!r} gave an empty answer; the serving environment needs numpy < 2: {remedies.install()}"
            )
        return Probe(int(revision.item()), version.item().decode())

    def recover(self, model: str) -> Probe:
        """Probe the model; if it fails or is not loaded, unload, load and probe again."""
        try:
            return self.probe(model)
        except (RuntimeError, LookupError, TimeoutError):
            self.unload(model)
            self.load(model)
            return self.probe(model)

    def close(self) -> None:
        """Close the channel."""
        self._triton.close()


def _missing(name: str, datatype: str) -> InferInput:
    tensor = InferInput(name, [1, 1], datatype)
    tensor.set_data_from_numpy(np.array([[b""]], dtype=object) if datatype == "BYTES" else np.array([[np.nan]]))
    return tensor
