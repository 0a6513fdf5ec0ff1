"""Asks without a pause from a process of its own, and keeps of every answer when, by which version, and what it said.

`python -m benchmarks._swap_load URL REQUESTS OUTPUT ASKERS FILE` runs until its input closes, and then writes FILE
(npz): `sent` and `received` (seconds, CLOCK_MONOTONIC, which all processes share), `number` of the request, `version`
("" and a reason in `errors` if it failed), `value`.
"""

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2

from benchmarks._serving_load import read_requests

_CALL = "/inference.GRPCInferenceService/ModelInfer"


def _outputs(answer: Any, output: str) -> tuple[str, float]:
    """Return the version that an answer names (Triton's own, where the model names none), and the value of one row."""
    version, value = answer.model_version, float("nan")
    for tensor, raw in zip(answer.outputs, answer.raw_output_contents, strict=True):
        if tensor.name == output:
            (value,) = np.frombuffer(raw, dtype=np.float32)
        elif tensor.name == "model_version":
            version = raw[4:].decode()  # after its length
    return version, float(value)


async def _ask(url: str, requests: list[bytes], output: str, askers: int) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    call = grpc.aio.insecure_channel(url).unary_unary(
        _CALL, response_deserializer=service_pb2.ModelInferResponse.FromString
    )

    async def asker(first: int) -> None:
        number = first
        while not ended.done():
            sent = time.monotonic()
            try:
                answer = await call(requests[number % len(requests)], timeout=10)
                version, value, error = *_outputs(answer, output), ""
            except grpc.aio.AioRpcError as failure:
                version, value, error = "", float("nan"), f"{failure.code()}: {failure.details()}"
            found.append((sent, time.monotonic(), number % len(requests), version, value, error))
            number += askers

    await asyncio.gather(*(asker(first) for first in range(askers)))
    return found


def main() -> None:
    """Run until standard input closes."""
    url, requests, output, askers, file = sys.argv[1:]
    found = asyncio.run(_ask(url, read_requests(Path(requests)), output, int(askers)))
    sent, received, number, version, value, error = zip(*found, strict=True)
    np.savez(
        file,
        sent=np.array(sent),
        received=np.array(received),
        number=np.array(number),
        version=np.array(version),
        value=np.array(value),
        errors=np.array([one for one in error if one], dtype=str),
    )


if __name__ == "__main__":
    main()
