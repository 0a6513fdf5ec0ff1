"""The gRPC channel to Triton and the meaning of its errors, for `client` and `control`."""

from collections.abc import Iterator
from contextlib import contextmanager

import grpc
from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException

_LARGEST = 2**31 - 1

# Without the last two a client that met a dead server keeps failing for up to two minutes after its return.
_OPTIONS = [
    ("grpc.max_send_message_length", _LARGEST),
    ("grpc.max_receive_message_length", _LARGEST),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
]


def open_channel(url: str) -> InferenceServerClient:
    """Return a client of the Triton at `url` (host:port). Connects on the first call."""
    return InferenceServerClient(url, channel_args=_OPTIONS)


@contextmanager
def translated(url: str, model: str = "", timeout: float = 0.0) -> Iterator[None]:
    """Turn Triton's errors into built-in ones with the remedy.

    ConnectionError: no server; TimeoutError: no answer in `timeout` seconds; LookupError: unknown model;
    ValueError: the request's fault; RuntimeError: the model's.
    """
    try:
        yield
    except InferenceServerException as error:
        raise _translated(error, url, model, timeout) from None
    except grpc.RpcError as error:
        raise ConnectionError(f"no Triton at {url} ({error}); start it with make demo") from None


def _translated(error: InferenceServerException, url: str, model: str, timeout: float) -> Exception:
    status = str(error.status()).removeprefix("StatusCode.")
    message = str(error.message()).partition("\n\nAt:")[0]  # without the stub's stack
    if "unknown model" in message or "is not ready" in message or status == "NOT_FOUND":
        return LookupError(f"Triton at {url} serves no model {model!r}; deploy it first ({message})")
    if status == "UNAVAILABLE":
        return ConnectionError(f"no Triton at {url}; start it with make demo")
    if status in ("DEADLINE_EXCEEDED", "CANCELLED"):
        return TimeoutError(f"Triton at {url} gave no answer within {timeout:g} s; look at its log")
    if "load failed" in message:
        return RuntimeError(f"Triton at {url} could not load: {message}")
    if status == "INVALID_ARGUMENT":
        return ValueError(f"model {model!r} refused the request: {message}")
    hint = "; `python -m serving.server start` recovers it" if "Stub process" in message else ""
    return RuntimeError(f"model {model!r} at {url} failed: {message}{hint}")
