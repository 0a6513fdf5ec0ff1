"""A Triton of its own on a drill's scratch copy: what clients would be answered if the copy were what is served.

The user's Triton, if one runs, is neither asked nor touched.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from assets.replay import published_views
from assets.resources import Platform
from ml.online_publish import rebuild
from ml.online_rows import open_online_rows
from ml.settings import Settings
from serving.client import HeadwaterClient
from serving.server import Server
from serving.triton_files import free_ports

PORTS = ("triton_grpc_port", "triton_metrics_port")


@contextmanager
def served(original: Platform, copy: Platform) -> Iterator[Platform]:
    """Serve from a scratch copy what its original serves, on free ports; yield its parts, stop Triton at the end.

    The copy's online rows are made anew from what is published, as of its clock, wherever the original keeps its own.
    Raises LookupError if nothing is deployed or a model cannot be served.
    """
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    copy = replace(copy, settings=copy.settings.model_copy(update=ports))
    move_plans(original.settings, copy.settings)
    online = open_online_rows(copy.settings.online_store)
    rebuild(published_views(copy), copy.publications, online, copy.clock.now())
    server = Server(copy.settings)
    try:
        status = server.start()
        for model, reason in status.failing.items():
            raise LookupError(f"{model} cannot be served from the copy: {reason}")
        if not status.serving:
            raise LookupError(f"nothing is deployed in {original.settings.home}; run make demo first")
        yield copy
    finally:
        server.stop()


def ask(settings: Settings, model: str, rows: Sequence[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Return what Triton answers for rows that have the model's fields: probability, version, each view's status."""
    client = HeadwaterClient.of(settings, timeout=10)
    try:
        wanted = client.fields(model)
        answers = client.predict(model, [{name: row[name] for name in wanted} for row in rows])
    finally:
        client.close()
    return [(a.probability, a.model_version, sorted(a.feature_status.items())) for a in answers]


def move_plans(old: Settings, new: Settings) -> None:
    """Let the plans in a copy of a home name the copy's files and online store, which they do by their address."""
    moves = {old.online_store: new.online_store, str(old.home): str(new.home)}
    # In one pass, longest first: the store lies in the home, and the copy's home in the original's.
    address = re.compile("|".join(re.escape(known) for known in sorted(moves, key=len, reverse=True)))
    for plan in new.serving_home.rglob("*.json"):
        plan.write_text(address.sub(lambda found: moves[found.group()], plan.read_text()))
