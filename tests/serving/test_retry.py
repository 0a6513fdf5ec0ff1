import socket
import threading
import time
from itertools import islice

import pytest
from tritonclient.utils import InferenceServerException

from serving.channel import BusyError, UnsentError, translated
from serving.client import HeadwaterClient
from serving.retry import pauses, retried
from tests.serving.example import ROW


def test_pauses_double_at_random_up_to_a_bound() -> None:
    for _ in range(20):
        found = list(islice(pauses(), 8))
        for place, pause in enumerate(found):
            longest = min(0.02 * 2**place, 0.5)
            assert longest / 2 <= pause <= longest


@pytest.mark.parametrize("error", [BusyError, UnsentError])
def test_what_was_not_scored_is_asked_again(error: type[Exception]) -> None:
    errors = [error("no"), error("no")]

    def call() -> str:
        if errors:
            raise errors.pop()
        return "yes"

    assert retried(call, time.monotonic() + 5) == "yes"


@pytest.mark.parametrize("error", [TimeoutError, ConnectionError, RuntimeError, PermissionError, ValueError])
def test_what_may_have_been_scored_or_cannot_change_is_never_asked_again(error: type[Exception]) -> None:
    calls = []

    def call() -> None:
        calls.append(1)
        raise error("no")

    with pytest.raises(error):
        retried(call, time.monotonic() + 5)
    assert len(calls) == 1


def test_asking_again_ends_with_the_deadline() -> None:
    def call() -> None:
        raise BusyError("full")

    started = time.monotonic()
    with pytest.raises(BusyError):
        retried(call, started + 0.3)
    assert time.monotonic() - started < 0.6


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        ("failed to connect to all addresses; last error: UNKNOWN: Failed to connect: Connection refused", UnsentError),
        ("[request id: <id_unknown>] Exceeds maximum queue size", BusyError),
        ("Request timeout expired", BusyError),
        ("Socket closed", ConnectionError),
        ("recvmsg:Connection reset by peer", ConnectionError),
        ("This protocol is restricted, expecting header 'triton-grpc-protocol-token'", PermissionError),
    ],
)
def test_triton_s_unavailable_is_told_apart(details: str, expected: type[Exception]) -> None:
    with pytest.raises(expected) as caught, translated("127.0.0.1:1", "example"):
        raise InferenceServerException(details, status="StatusCode.UNAVAILABLE")
    assert type(caught.value) is expected


def test_without_a_server_the_client_asks_until_its_deadline_and_at_once_gives_up_if_told_to() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        url = f"127.0.0.1:{probe.getsockname()[1]}"
    taken = {}
    for retry in (True, False):
        started = time.monotonic()
        with pytest.raises(UnsentError, match=r"no Triton at .*; start it with make start"):
            HeadwaterClient(url, 0.8, retry=retry).predict("example", [ROW])
        taken[retry] = time.monotonic() - started
    assert taken[False] < 0.4 < taken[True] < 1.2


def test_a_connection_that_breaks_under_a_request_is_not_asked_again() -> None:
    met = []

    def serve(server: socket.socket) -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            met.append(connection.recv(4096))
            connection.sendall(b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")  # HTTP/2 settings: it is connected
            time.sleep(0.2)
            connection.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        client = HeadwaterClient(f"127.0.0.1:{server.getsockname()[1]}", 2.0)
        with pytest.raises(ConnectionError) as caught:
            client.fields("example")
        assert type(caught.value) is ConnectionError
        server.shutdown(socket.SHUT_RDWR)
    assert sum(b"ModelMetadata" in text or text.startswith(b"PRI") for text in met) >= 1
