"""What the rollout test does from pods: `python -m tests.k8s.serve prepare|deploy|ask|enough HOME [words]`.

Serving's own example model on the shared home; deployed through every replica, asked by a client that counts.
"""

import sys
import time
from collections import Counter
from pathlib import Path

from ml.settings import Settings
from serving.client import HeadwaterClient
from serving.rollout import Newcomer, deploy
from tests.serving.example import ROW, SPEC, VIEWS, write_graph, write_world

FRESH_CHANNEL_EVERY = 20  # requests: a Service spreads connections, not requests


def prepare(home: str) -> None:
    """Write online rows into the home."""
    write_world(Path(home))


def bring(home: str, version: str) -> None:
    """Make a new version of the example champion on every replica."""
    graph = write_graph(Path(home) / "trained" / f"{version}.onnx", float(version))
    plan = deploy(Newcomer(SPEC, version, graph, VIEWS), Settings())
    print("DEPLOYED", plan.champion.version, "revision", plan.revision, flush=True)


def ask(home: str, url: str) -> None:
    """Ask until the file <home>/enough is there; print how many were answered by which version, and each failure."""
    answered: Counter[str] = Counter()
    failures: list[str] = []
    client, asked = HeadwaterClient(url, 5.0), 0
    while not (Path(home) / "enough").exists():
        if asked % FRESH_CHANNEL_EVERY == 0:
            client.close()
            client = HeadwaterClient(url, 5.0)
        asked += 1
        try:
            (answer,) = client.predict(SPEC.name, [{**ROW, "tailnum": f"N{asked}"}])
            answered[answer.model_version] += 1
        except Exception as error:  # what a client may see is what is counted
            failures.append(f"{time.monotonic():.1f} {type(error).__name__}: {error}")
        time.sleep(0.02)
    client.close()
    print("\n".join(failures[:20]))
    print("ASKED", asked, "FAILED", len(failures), "BY", dict(answered), flush=True)


def enough(home: str) -> None:
    """Have the client end."""
    (Path(home) / "enough").touch()


if __name__ == "__main__":
    {"prepare": prepare, "deploy": bring, "ask": ask, "enough": enough}[sys.argv[1]](*sys.argv[2:])
