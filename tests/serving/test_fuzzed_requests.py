"""Requests that no client of ours would send: each gets an error or a sound answer, and the next one is served."""

import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import serialize_byte_tensor

from serving.plan import MAX_BATCH
from tests.serving.conftest import Served, stubs
from tests.serving.example import RAW, score_directly
from tests.serving.versions import REQUEST

pytestmark = pytest.mark.server
Message = service_pb2.ModelInferRequest
TYPES = {"tailnum": "BYTES", "origin": "BYTES", "runway": "FP64", "distance": "FP64", "departure": "FP64"}


def raw(column: np.ndarray) -> bytes:
    return serialize_byte_tensor(column).item() if column.dtype == object else column.tobytes()


def message(rows: int = 1) -> Message:
    """A sound request."""
    found = Message(model_name="example")
    for name, column in REQUEST.tensors.items():
        found.inputs.add(name=name, shape=[rows, 1], datatype=TYPES[name])
        found.raw_input_contents.append(raw(np.resize(column, (rows, 1))))
    return found


def place(found: Message, name: str) -> int:
    return [tensor.name for tensor in found.inputs].index(name)


def with_bytes(name: str, data: bytes) -> Message:
    found = message()
    found.raw_input_contents[place(found, name)] = data
    return found


def with_text(name: str, text: bytes) -> Message:
    return with_bytes(name, struct.pack("<I", len(text)) + text)


def with_number(name: str, number: float) -> Message:
    return with_bytes(name, struct.pack("<d", number))


def with_shape(name: str, *shape: int) -> Message:
    found = message()
    found.inputs[place(found, name)].shape[:] = shape
    return found


def with_type(name: str, datatype: str) -> Message:
    found = message()
    found.inputs[place(found, name)].datatype = datatype
    return found


def without(name: str) -> Message:
    found = message()
    index = place(found, name)
    del found.inputs[index], found.raw_input_contents[index]
    return found


def renamed(name: str, other: str) -> Message:
    found = message()
    found.inputs[place(found, name)].name = other
    return found


def twice(name: str) -> Message:
    found = message()
    index = place(found, name)
    found.inputs.append(found.inputs[index])
    found.raw_input_contents.append(found.raw_input_contents[index])
    return found


def asking_for(output: str) -> Message:
    found = message()
    found.outputs.add(name=output)
    return found


def noise(seed: int) -> Message:
    """A sound request with random bytes, of random length, in one of its inputs."""
    choose = random.Random(seed)
    found = message()
    index = choose.randrange(len(found.inputs))
    found.raw_input_contents[index] = choose.randbytes(choose.choice([0, 1, 4, 7, 8, 9, 64]))
    return found


ODD: dict[str, Callable[[], Message]] = {
    "missing input": lambda: without("tailnum"),
    "unknown input": lambda: renamed("tailnum", "tail"),
    "input twice": lambda: twice("origin"),
    "no input at all": lambda: Message(model_name="example"),
    "unknown output": lambda: asking_for("confidence"),
    "one dimension": lambda: with_shape("distance", 1),
    "two columns": lambda: with_shape("distance", 1, 2),
    "other rows": lambda: with_shape("distance", 2, 1),
    "no rows": lambda: with_shape("distance", 0, 1),
    "negative rows": lambda: with_shape("distance", -1, 1),
    "absurd rows": lambda: with_shape("distance", 2**40, 1),
    "text for number": lambda: with_type("distance", "BYTES"),
    "number for text": lambda: with_type("tailnum", "FP64"),
    "half the number": lambda: with_type("distance", "FP32"),
    "no such type": lambda: with_type("distance", "FP65"),
    "not UTF-8": lambda: with_text("origin", b"\xff\xfe"),
    "zero bytes": lambda: with_text("tailnum", b"\0" * 7),
    "a megabyte of text": lambda: with_text("tailnum", b"N" * 2**20),
    "a text that is too long for its bytes": lambda: with_bytes("tailnum", struct.pack("<I", 2**31) + b"N1"),
    "two texts in one": lambda: with_bytes("tailnum", struct.pack("<I", 2) + b"N1" + struct.pack("<I", 2) + b"N2"),
    "no bytes": lambda: with_bytes("tailnum", b""),
    "SQL": lambda: with_text("tailnum", b"N1' OR 1=1; DROP TABLE packed_rows; --"),
    "code": lambda: with_text("tailnum", b"__import__('os').kill(1, 9)"),
    "not a number": lambda: with_number("distance", float("nan")),
    "infinite": lambda: with_number("distance", float("-inf")),
    "beyond single precision": lambda: with_number("distance", 1e300),
    "a key that is no whole number": lambda: with_number("runway", 4.5),
    "a key beyond 64 bits": lambda: with_number("runway", 1e300),
    "a time long ago": lambda: with_number("departure", -1e18),
    "more rows than a batch": lambda: message(MAX_BATCH + 1),
    "far more rows than a batch": lambda: message(100_000),
    "unknown model": lambda: Message(model_name="no_such_model"),
    "another version": lambda: Message(model_name="example", model_version="999"),
    **{f"noise {seed}": lambda seed=seed: noise(seed) for seed in range(40)},  # type: ignore[misc]
}

# Values like any other: an entity that nobody knows, a missing number, a number of any size.
ANSWERED = {
    "zero bytes",
    "SQL",
    "code",
    "not a number",
    "beyond single precision",
    "a time long ago",
}


@pytest.fixture(scope="module")
def ask(served: Served) -> Iterator[Callable[[Message], service_pb2.ModelInferResponse]]:
    options = [("grpc.max_send_message_length", 2**31 - 1)]
    with grpc.insecure_channel(served.server.url, options) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        yield lambda request: stub.ModelInfer(request, timeout=10)


def value(answer: service_pb2.ModelInferResponse) -> np.ndarray:
    names = [output.name for output in answer.outputs]
    return np.frombuffer(answer.raw_output_contents[names.index("probability")], np.float32)


def test_sound_requests_are_answered(served: Served, ask: Callable[[Message], service_pb2.ModelInferResponse]) -> None:
    plan = served.deploy()
    expected = score_directly(Path(plan.champion.onnx), plan.champion.inputs, RAW)
    assert value(ask(message(3))).tolist() == [expected] * 3


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_request_gets_an_error_or_a_sound_answer_and_the_next_one_is_served(
    served: Served, ask: Callable[[Message], service_pb2.ModelInferResponse], odd: str
) -> None:
    before, processes = value(ask(message())), stubs(served)
    answered, error = outcome(ask, ODD[odd]())
    if not odd.startswith("noise"):
        assert (error is None) == (odd in ANSWERED), error
    if error is None:
        assert ((answered >= 0) & (answered <= 1)).all()
    else:
        assert error.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)
        assert error.details()
    assert value(ask(message())) == before
    assert stubs(served) == processes, "a process was lost"


def outcome(
    ask: Callable[[Message], service_pb2.ModelInferResponse], request: Message
) -> tuple[np.ndarray, grpc.RpcError | None]:
    try:
        return value(ask(request)), None
    except grpc.RpcError as error:
        return np.empty(0), error
