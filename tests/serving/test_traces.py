"""Traces of a real client and a real server, as a receiver gets them."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from serving.server import Server
from serving.triton_files import REPOSITORY_ROOT, free_ports
from tests.serving.conftest import Served
from tests.serving.example import ROW, settings_at, write_world
from tests.serving.otlp_receiver import Receiver, Span, receiving

pytestmark = pytest.mark.server
STAGES = ["parse", "read", "score", "answer", "log"]


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("home")
    grpc, metrics = free_ports(2)
    ports = {"triton_grpc_port": grpc, "triton_metrics_port": metrics}
    settings = settings_at(home, otlp_endpoint=receiver.endpoint, **ports)
    write_world(home)
    served = Served(settings, Server(settings))
    served.server.start()
    try:
        yield served
    finally:
        served.server.stop()


def ask(served: Served, endpoint: str) -> None:
    """Ask on the command line."""
    fields = [f"{name}={value}" for name, value in ROW.items()]
    settings = {
        "HEADWATER_HOME": str(served.settings.home),
        "HEADWATER_TRITON_GRPC_PORT": str(served.settings.triton_grpc_port),
        "HEADWATER_OTLP_ENDPOINT": endpoint,
    }
    command = [sys.executable, "-m", "serving.client", "--timeout", "10", "example", *fields]
    subprocess.run(command, env={**os.environ, **settings}, cwd=REPOSITORY_ROOT, check=True, timeout=60)


def below(spans: list[Span], parent: Span) -> list[Span]:
    found = [span for span in spans if span.parent == parent.id]
    assert {span.trace for span in found} == {parent.trace}
    assert all(parent.begun <= span.begun <= span.ended <= parent.ended for span in found)
    return sorted(found, key=lambda span: span.begun)


def test_one_trace_leads_from_the_client_through_the_router_to_its_stages(traced: Served, receiver: Receiver) -> None:
    plan = traced.deploy()
    ask(traced, receiver.endpoint)
    (asked,) = receiver.wait("ask example", 1)
    receiver.wait("log", 1)
    assert (asked.service, asked.parent) == ("headwater-client", "")
    (answered,) = below(receiver.spans, asked)
    assert (answered.service, answered.name) == ("headwater-router", "answer example")
    assert [span.name for span in below(receiver.spans, answered)] == STAGES
    told = answered.attributes
    assert len(told.pop("headwater.prediction_id")) == 32
    assert told == {
        "headwater.model": "example",
        "headwater.revision": plan.revision,
        "headwater.versions": [plan.champion.version],
        "headwater.variants": ["champion"],
        "headwater.rows": 1,
        "headwater.batch.rows": 1,
        "headwater.batch.requests": 1,
        "headwater.degraded_rows": 0,
    }


def test_a_refused_request_is_a_failed_span_and_a_probe_is_none(traced: Served, receiver: Receiver) -> None:
    traced.deploy()
    known = len([span for span in receiver.spans if span.name == "answer example"])
    assert not traced.server.status().failing  # probes
    with pytest.raises(ValueError, match="infinite"):
        traced.client().predict("example", [{**ROW, "distance": float("inf")}])
    found = receiver.wait("answer example", known + 1)
    assert len(found) == known + 1
    assert (found[-1].failed, found[-1].parent) == (True, "")  # nobody's: the client made no span
