"""The MLflow page on loopback, over the registry of this home: `make mlflow`. A server has its own."""

import os
import sys

from ml.ports import taken
from ml.registry import Registry
from ml.settings import Settings


def main() -> None:
    """Serve the page until interrupted. Raises LookupError if the registry cannot be opened."""
    settings = Settings()
    registry = Registry(settings.tracking_uri, settings.artifacts)
    registry.client.search_registered_models(max_results=1)
    if settings.tracking_uri.startswith("http"):
        print(f"MLflow: {registry.address} serves its own page")
        return
    if taken(settings.mlflow_port):
        raise SystemExit(
            f"headwater: port {settings.mlflow_port} is taken; stop what listens there, or set HEADWATER_MLFLOW_PORT"
        )
    print(f"MLflow: http://127.0.0.1:{settings.mlflow_port} (Ctrl-C ends it)", flush=True)
    told = {
        "MLFLOW_BACKEND_STORE_URI": settings.tracking_uri,  # not in the command line, which anybody may list
        "MLFLOW_ARTIFACTS_DESTINATION": settings.artifacts,
        # MLflow's own job queue is not used here; its consumers would only keep the cores busy.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    command = ["-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(settings.mlflow_port), "--workers", "1"]
    os.execve(sys.executable, [sys.executable, *command], {**os.environ, **told})


if __name__ == "__main__":
    main()
