"""The gRPC channel to Triton and the meaning of its errors, for `client` and `control`."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import grpc
from tritonclient.grpc import InferenceServerClient, InferenceServerClientPlugin
from tritonclient.utils import InferenceServerException

from ml import remedies
from serving.credentials import CONTROL_KEY, OPEN, Credentials
from serving.probing import REFUSED

_LARGEST = 64 * 2**20  # a full batch of longest texts in 250 inputs
_RESTRICTED = "This protocol is restricted"
_NOT_SCORED = ("Exceeds maximum queue size", "Request timeout expired")  # refused in Triton's queue

# Without the last two a client that met a dead server keeps failing for up to two minutes after its return.
_OPTIONS = [
    ("grpc.max_send_message_length", _LARGEST),
    ("grpc.max_receive_message_length", _LARGEST),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
]


class UnsentError(ConnectionError):
    """There was no connection, so nothing was sent: asking again repeats nothing."""


class BusyError(ConnectionError):
    """Triton refused the request, unscored, because too many wait: asking again, later, repeats nothing."""


class _Headers(InferenceServerClientPlugin):
    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers

    def __call__(self, request: Any) -> None:
        request.headers = {**(request.headers or {}), **self._headers}


def open_channel(url: str, credentials: Credentials = OPEN, name: str = "") -> InferenceServerClient:
    """Return a client of the Triton at `url` (host:port) that shows `credentials`. Connects on the first call.

    Over TLS its certificate has to be that of `name`, if one is given, else of the host.
    """
    options = [*_OPTIONS, ("grpc.ssl_target_name_override", name)] if name else _OPTIONS
    client = InferenceServerClient(url, creds=credentials.channel(), channel_args=options)
    if headers := credentials.headers():
        client.register_plugin(_Headers(headers))
    return client


@contextmanager
def translated(url: str, model: str = "", timeout: float = 0.0) -> Iterator[None]:
    """Turn Triton's errors into built-in ones with the remedy.

    ConnectionError: no server (UnsentError: nothing was sent; BusyError: nothing was scored); PermissionError: the
    token or the control secret is missing or wrong; TimeoutError: no answer in `timeout` seconds; LookupError: unknown
    model; ValueError: the request's fault; RuntimeError: the model's.
    """
    try:
        yield
    except InferenceServerException as error:
        raise _translated(error, url, model, timeout) from None
    except grpc.RpcError as error:
        raise ConnectionError(f"no Triton at {url} ({error}); {remedies.start_triton(url)}") from None


def _translated(error: InferenceServerException, url: str, model: str, timeout: float) -> Exception:
    status = str(error.status()).removeprefix("StatusCode.")
    message = str(error.message()).partition("\n\nAt:")[0]  # without the stub's stack
    message = message.removeprefix("[request id: <id_unknown>] ")
    if _RESTRICTED in message or REFUSED in message:
        return _refused(url, message)
    if any(reason in message for reason in _NOT_SCORED):
        return BusyError(f"model {model!r} at {url} is busy: {message}; the request was not scored, ask again later")
    if "unknown model" in message or "is not ready" in message or status == "NOT_FOUND":
        served = remedies.here("make status says what is served")
        return LookupError(
            f"Triton at {url} serves no model {model!r}; deploy it first, or correct the name: {served} ({message})"
        )
    if status == "UNAVAILABLE":
        return _unreachable(url, message)
    if status in ("DEADLINE_EXCEEDED", "CANCELLED"):
        return TimeoutError(f"Triton at {url} gave no answer within {timeout:g} s; look at its log")
    if "load failed" in message:
        return RuntimeError(f"Triton at {url} could not load: {message}")
    if status in ("INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"):
        return ValueError(f"model {model!r} refused the request: {message}")
    hint = f"; {remedies.recover_triton()}" if "Stub process" in message else ""
    return RuntimeError(f"model {model!r} at {url} failed: {message}{hint}")


def _refused(url: str, message: str) -> PermissionError:
    # Triton's message names the header that it misses, never the value.
    if REFUSED in message:
        remedy = f"{REFUSED} that started it"
    elif f"-{CONTROL_KEY}'" in message:
        remedy = "the control API needs the secret of the serving home that started it"
    else:
        remedy = "it needs another token: --token-file, token= or HEADWATER_SERVING_TOKEN_FILE"
    return PermissionError(f"Triton at {url} refuses: {remedy}")


def _unreachable(url: str, message: str) -> ConnectionError:
    if "SSL" in message or "Ssl" in message or "handshake" in message or "Peer name" in message:
        return ConnectionError(
            f"no TLS with Triton at {url}: --ca, --cert, --key or its host name do not fit ({message})"
        )
    if "failed to connect" in message.lower():
        return UnsentError(f"no Triton at {url}; {remedies.start_triton(url)}")
    return ConnectionError(f"no Triton at {url}; {remedies.start_triton(url)}, or give --ca if it speaks TLS")
