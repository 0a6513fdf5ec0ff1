"""The real Triton with mutual TLS, a token and a bounded queue: who may do what, and what everyone else is told.

One file, though a long one: its server and clients with certificates start once for all of it.
"""

import os
import re
import signal
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.message_factory import GetMessageClass
from tritonclient.grpc import service_pb2

from ml.models.flight_delay import FLIGHT_DELAY
from ml.serving_settings import ServingSettings
from serving import client as client_cli
from serving.build_plan import build_plan
from serving.channel import BusyError
from serving.client import HeadwaterClient
from serving.control import Control
from serving.credentials import Credentials, of_client, of_control, read_control_secret
from serving.log_reader import log_schema, read_new
from serving.plan import MAX_BATCH
from serving.probing import PROBE, probing
from serving.rollout import Newcomer, deploy
from serving.server import Server
from serving.triton_files import free_ports
from tests.serving.certificates import Authority
from tests.serving.conftest import Served, leader, stubs
from tests.serving.example import AIRCRAFT, ROW, RUNWAY, SPEC, VIEWS, settings_at, write_graph, write_world

pytestmark = pytest.mark.server

TOKEN = "a-token-of-tests=with/signs"
SERVICE = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
HEALTH = {"ServerLive", "ServerReady", "ModelReady"}
INFERENCE = {"ServerMetadata", "ModelMetadata", "ModelConfig", "ModelInfer", "ModelStreamInfer"}
CONTROL = {method.name for method in SERVICE.methods} - HEALTH - INFERENCE
PAGE = (Path(__file__).parents[2] / "docs" / "serving.md").read_text()


@dataclass
class Secured(Served):
    """A Triton that asks for everything, and a stranger's authority."""

    ca: Path = Path()
    client_files: tuple[Path, Path] = (Path(), Path())
    stranger: Authority | None = None

    def client(self, timeout: float = 10.0, **more: Any) -> HeadwaterClient:
        cert, key = self.client_files
        shown = {"ca": self.ca, "cert": cert, "key": key, "token": TOKEN, "retry": False}
        return HeadwaterClient(self.server.url, timeout, **{**shown, **more})


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    home = tmp_path_factory.mktemp("secured")
    own, stranger = Authority(home, "own"), Authority(home, "stranger")
    (cert, key), (client_cert, client_key) = own.issue("server"), own.issue("client")
    token = home / "token"
    token.write_text(TOKEN + "\n")
    ports = dict(zip(("triton_grpc_port", "triton_metrics_port"), free_ports(2), strict=True))
    settings = settings_at(
        home,
        **ports,
        serving_tls_cert=cert,
        serving_tls_key=key,
        serving_tls_client_ca=own.ca,
        serving_client_cert=client_cert,
        serving_client_key=client_key,
        serving_token_file=token,
    )
    write_world(home)
    world = Secured(settings, Server(settings), ca=own.ca, client_files=(client_cert, client_key), stranger=stranger)
    world.server.start()
    try:
        serving = ServingSettings.model_validate({**SPEC.serving.model_dump(), "max_queue": 2, "max_wait_ms": 400})
        deploy(Newcomer(SPEC.model_copy(update={"serving": serving}), *world.graph(-3.0), VIEWS), settings)
        yield world
    finally:
        world.server.stop()


def call(world: Secured, method: str, shown: Credentials, message: Any = None) -> Any:
    """Call a method of Triton's service with a message, an empty one by default."""
    described = SERVICE.methods_by_name[method]
    kind = GetMessageClass(described.output_type)
    message = message or GetMessageClass(described.input_type)()
    path, read = f"/{SERVICE.full_name}/{method}", kind.FromString
    with grpc.secure_channel(world.server.url, shown.channel()) as channel:
        metadata = tuple(shown.headers().items())
        if described.client_streaming:
            ask = channel.stream_stream(path, response_deserializer=read)
            return next(iter(ask(iter([message.SerializeToString()]), metadata=metadata, timeout=10)))
        ask = channel.unary_unary(path, response_deserializer=read)
        return ask(message.SerializeToString(), metadata=metadata, timeout=10)


def refusal(world: Secured, method: str, shown: Credentials) -> str:
    """Return the error that Triton answers with."""
    with pytest.raises(grpc.RpcError) as caught:
        call(world, method, shown)
    return str(caught.value.details())


@pytest.mark.parametrize("method", sorted(CONTROL))
def test_without_the_secret_nothing_but_inference_is_reached(secured: Secured, method: str) -> None:
    client = of_client(secured.settings)
    expected = "This protocol is restricted, expecting header 'triton-grpc-protocol-control'"
    assert refusal(secured, method, client) == expected
    assert refusal(secured, method, replace(client, control="x" * 43)) == expected


def test_the_secret_opens_the_control_api(secured: Secured) -> None:
    answer = call(secured, "RepositoryIndex", of_control(secured.settings))
    assert "example" in [model.name for model in answer.models]


@pytest.mark.parametrize("method", sorted(INFERENCE))
def test_without_the_token_nothing_but_health_is_reached(secured: Secured, method: str) -> None:
    shown = of_client(secured.settings)
    expected = "This protocol is restricted, expecting header 'triton-grpc-protocol-token'"
    assert refusal(secured, method, replace(shown, token=None)) == expected
    assert refusal(secured, method, replace(shown, token="wrong" * 8)) == expected
    assert refusal(secured, method, replace(shown, token=TOKEN[:-1])) == expected


def test_a_probe_needs_the_secret_so_every_answer_to_a_client_is_logged(secured: Secured) -> None:
    with pytest.raises(ValueError, match="a probe needs the control secret"):
        secured.client(probe=True)
    client = secured.client()
    for shown in ({PROBE: True}, {PROBE: "1"}, probing("x" * 43), probing("x" * 43, "1")):
        client._parameters = shown  # as any client of Triton may
        with pytest.raises(PermissionError, match="a probe needs the control secret of the serving home"):
            client.predict("example", [ROW])
    (asked,) = secured.client().predict("example", [ROW])
    (probed,) = HeadwaterClient.of(secured.settings, 10.0, probe=True).predict("example", [ROW])
    plan = secured.server.repository.deployed("example")
    assert plan is not None
    until = time.monotonic() + 10
    ids = set[str]()
    while asked.prediction_id not in ids and time.monotonic() < until:
        time.sleep(0.1)
        ids = set(read_new(Path(plan.prediction_log), log_schema(plan))[0]["prediction_id"])
    assert asked.prediction_id in ids
    assert probed.prediction_id not in ids


@pytest.mark.parametrize("method", sorted(HEALTH))
def test_health_needs_no_token(secured: Secured, method: str) -> None:
    message = service_pb2.ModelReadyRequest(name="example") if method == "ModelReady" else None
    answer = call(secured, method, replace(of_client(secured.settings), token=None), message)
    assert getattr(answer, "live", False) or answer.ready


def test_every_open_port_is_known_and_metrics_only_answers_metrics(secured: Secured) -> None:
    settings = secured.settings
    assert listening(leader(secured)) == {settings.triton_grpc_port, settings.triton_metrics_port}
    metrics = f"http://127.0.0.1:{settings.triton_metrics_port}"
    assert b"nv_inference" in urlopen(f"{metrics}/metrics", timeout=5).read()
    paths = ("repository/index", "repository/models/example/unload", "models/example/infer", "logging", "health/live")
    for path in paths:
        assert urlopen(f"{metrics}/v2/{path}", timeout=5).read() == b""
        with pytest.raises(HTTPError, match="405"):
            urlopen(Request(f"{metrics}/v2/{path}", data=b"{}"), timeout=5)
    assert secured.client().predict("example", [ROW])


def listening(pid: int) -> set[int]:
    """Return the TCP ports on which a process listens."""
    sockets = {os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()}
    ports = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            if state == "0A" and f"socket:[{rest[5]}]" in sockets:
                ports.add(int(local.rpartition(":")[2], 16))
    return ports


def test_the_secrets_are_their_owner_s_and_in_no_log_and_no_error(secured: Secured) -> None:
    secret = read_control_secret(secured.settings)
    (path,) = secured.settings.serving_home.rglob("control.secret")
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(PermissionError) as caught:
        secured.client(token="wrong" * 8).predict("example", [ROW])
    said = secured.server.log.read_text() + str(caught.value) + repr(of_control(secured.settings))
    said += (secured.settings.serving_home / "server" / "triton.json").read_text()
    assert TOKEN not in said
    assert secret not in said


@pytest.mark.parametrize("token", [None, "wrong" * 8])
def test_a_missing_or_wrong_token_is_named_with_the_remedy(secured: Secured, token: str | None) -> None:
    with pytest.raises(PermissionError, match=r"needs another token: --token-file, token= or HEADWATER_SERVING_TOKEN"):
        secured.client(token=token).predict("example", [ROW])


def test_a_control_side_with_another_secret_is_refused(secured: Secured) -> None:
    control = Control(secured.settings.model_copy(update={"home": secured.settings.home / "other"}))
    with pytest.raises(PermissionError, match="the control API needs the secret of the serving home"):
        control.unload("example")
    control.close()


def test_a_replica_s_certificate_is_that_of_the_name_it_was_found_by(secured: Secured) -> None:
    here = secured.settings.triton_here
    assert Control(secured.settings, here, "127.0.0.1").live()
    assert not Control(secured.settings, here, "elsewhere.example").live()


def test_without_the_certificates_there_is_no_connection(secured: Secured) -> None:
    assert secured.stranger is not None
    cert, key = secured.stranger.issue("somebody")
    strangers: list[dict[str, Any]] = [
        {"ca": None, "cert": None, "key": None},
        {"cert": None, "key": None},
        {"cert": cert, "key": key},
    ]
    for shown in strangers:
        with pytest.raises(ConnectionError):
            secured.client(timeout=3, **shown).predict("example", [ROW])
    with pytest.raises(ConnectionError, match=r"no TLS with Triton at .*CERTIFICATE_VERIFY_FAILED"):
        secured.client(timeout=3, ca=secured.stranger.ca).predict("example", [ROW])


def test_the_platform_s_own_clients_and_command_lines_fit(
    secured: Secured, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert HeadwaterClient.of(secured.settings, timeout=10).predict("example", [ROW])
    assert not secured.server.start().failing
    cert, key = secured.client_files
    row = [f"{name}={value}" for name, value in ROW.items()]
    tls = ["--url", secured.server.url, "--ca", str(secured.ca), "--cert", str(cert), "--key", str(key)]
    assert client_cli.main(["example", *row, *tls]) == 1
    assert "--token-file" in capsys.readouterr().err
    assert client_cli.main(["example", *row, *tls, "--token-file", str(secured.settings.serving_token_file)]) == 0


def test_a_full_queue_is_an_error_to_ask_again_after_and_asking_again_gets_every_answer(secured: Secured) -> None:
    rows = [ROW] * MAX_BATCH

    def ask(retry: bool, kept: list[Any]) -> None:
        client = secured.client(timeout=60, retry=retry)
        client.fields("example")
        ready.wait()
        for _ in range(4):
            try:
                kept.append(len(client.predict("example", rows)))
            except Exception as error:
                kept.append(error)
        client.close()

    def refused_of_all(retry: bool) -> list[Any]:
        nonlocal ready
        ready, kept = threading.Barrier(12), list[Any]()
        askers = [threading.Thread(target=ask, args=(retry, kept)) for _ in range(12)]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()
        return [answer for answer in kept if answer != MAX_BATCH]

    ready = threading.Barrier(12)
    tries = (refused_of_all(retry=False) for _ in range(5))  # a busy machine may ask one after the other
    refused: list[Any] = next(filter(None, tries), [])
    assert refused, "12 askers never filled a queue of 2"
    assert {type(error) for error in refused} == {BusyError}
    said = {str(error).partition(": ")[2] for error in refused}
    assert "Exceeds maximum queue size; the request was not scored, ask again later" in said
    assert refused_of_all(retry=True) == []


def test_nobody_waits_longer_than_allowed_and_what_nobody_waits_for_is_not_scored(secured: Secured) -> None:
    plan = secured.server.repository.deployed("example")
    assert plan is not None
    told: dict[float, str] = {}

    def ask(distance: float, timeout: float) -> None:
        try:
            client = secured.client(timeout)
            client.predict("example", [{**ROW, "distance": distance}])
            told[distance] = "answered"
        except Exception as error:
            told[distance] = type(error).__name__

    (stub,) = (pid for pid in stubs(secured) if b"/example/" in Path(f"/proc/{pid}/cmdline").read_bytes())
    askers = [threading.Thread(target=ask, args=question) for question in ((101, 10), (102, 10), (103, 0.3))]
    os.kill(stub, signal.SIGSTOP)
    try:
        for asker in askers:
            asker.start()
            time.sleep(0.15)  # the first is with the router, the others wait
        time.sleep(0.5)
    finally:
        os.kill(stub, signal.SIGCONT)
    for asker in askers:
        asker.join()
    assert told == {101: "answered", 102: "BusyError", 103: "TimeoutError"}
    until, logged = time.monotonic() + 5, set[float]()
    while 101 not in logged and time.monotonic() < until:
        logged |= set(read_new(Path(plan.prediction_log), log_schema(plan))[0]["distance"])
    assert {101, 102, 103} & logged == {101}


def test_the_page_s_message_for_grpcurl_is_answered(secured: Secured) -> None:
    """The JSON is read as grpcurl reads it: by the rules of protobuf's JSON mapping."""
    text = re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert text is not None
    message = json_format.Parse(text[1], service_pb2.ModelInferRequest())
    views = (AIRCRAFT, replace(RUNWAY, join_keys=("origin", "flight_number")))
    spec = SPEC.model_copy(update={"name": FLIGHT_DELAY.name, "request": FLIGHT_DELAY.request, "elapsed": ()})
    version, graph = secured.graph(-1.0)
    write_graph(graph, -1.0, build_plan(spec, views, 1, version, graph, secured.settings).champion.inputs)
    deploy(Newcomer(spec, version, graph, views), secured.settings)
    answer = call(secured, "ModelInfer", of_client(secured.settings), message)
    names = [output.name for output in answer.outputs]
    contents = dict(zip(names, answer.raw_output_contents, strict=True))
    (probability,) = struct.unpack("<f", contents["probability"])
    assert 0 < probability < 1
    assert contents["model_version"] == struct.pack("<I", len(version)) + version.encode()


def test_triton_has_no_reflection_so_the_page_needs_its_description(secured: Secured) -> None:
    shown = of_client(secured.settings)
    with grpc.secure_channel(secured.server.url, shown.channel()) as channel:
        ask = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
        with pytest.raises(grpc.RpcError) as caught:
            next(iter(ask(iter([b""]), timeout=5)))
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
