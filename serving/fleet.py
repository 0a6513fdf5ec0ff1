"""Triton as the platform meets it: the bundled server of this machine, or replicas that a cluster starts and stops.

Starting the bundled one is in `server`; what is said to replicas, in `replicas`.
"""

from ml import remedies
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
        replicas, serving, failing, models = Replicas(self._settings), {}, {}, self.repository.deployed_models()
        down = _down(replicas)
        if down:  # what is asked of a replica that does not answer waits for it to leave
            failing = dict.fromkeys(models, down)
        for model in models if not down else ():
            try:
                serving[model] = replicas.probe(model)
            except Exception as error:
                failing[model] = str(error)
        replicas.close()
        return ServerStatus(self._settings.triton_replicas, None, not down, serving, failing)


def _down(replicas: Replicas) -> str:
    """Return who does not answer, "" if each replica does."""
    try:
        silent = replicas.silent()
    except ConnectionError as error:
        return str(error)
    return f"no answer from {', '.join(silent)}; {remedies.start_triton(silent[0])}" if silent else ""


def server_for(settings: Settings) -> Server | Fleet:
    """Return the Triton that the settings name."""
    return Fleet(settings) if settings.triton_replicas else Server(settings)
