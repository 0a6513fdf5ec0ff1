"""Triton as the platform meets it: the bundled server of this machine, or replicas that a cluster starts and stops.

Starting the bundled one is in `server`; what is said to replicas, in `replicas`.
"""

from ml.settings import Settings
from serving.model_repository import ModelRepository
from serving.replicas import Replicas
from serving.server import Server, ServerStatus


class Fleet:
    """The replicas that the settings name. They load what is deployed by themselves; here they are only asked."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.repository = ModelRepository(settings.serving_home)

    def start(self) -> ServerStatus:
        """Return who serves. Raises ConnectionError with the remedy unless each replica answers."""
        self.require_startable()
        return self.status()

    def require_startable(self) -> None:
        """Raise ConnectionError unless each replica answers: nothing here could start one."""
        replicas = Replicas(self._settings)
        try:
            replicas.require_live()
        finally:
            replicas.close()

    def stop(self) -> bool:
        """Raises LookupError: they belong to the cluster."""
        raise LookupError(
            f"the Triton at {self._settings.triton_replicas} belongs to the cluster; "
            "to end it: kubectl scale deployment -l app.kubernetes.io/component=triton --replicas=0"
        )

    def status(self) -> ServerStatus:
        """Return who serves, by a real inference on each replica, without changing anything."""
        replicas, serving, failing = Replicas(self._settings), {}, {}
        live = replicas.live()
        for model in self.repository.deployed_models():
            try:
                serving[model] = replicas.probe(model)
            except Exception as error:
                failing[model] = str(error)
        replicas.close()
        return ServerStatus(self._settings.triton_replicas, None, live, serving, failing)


def server_for(settings: Settings) -> Server | Fleet:
    """Return the Triton that the settings name."""
    return Fleet(settings) if settings.triton_replicas else Server(settings)
