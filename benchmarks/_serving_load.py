"""Asks servers from a process of its own: a bounded asyncio load of requests made beforehand. A JSON line in, one out.

`{"target": NAME, "url": ..., "requests": FILE}` announces a target: of gRPC, a url is host:port and a request a
serialized ModelInferRequest; of HTTP, a url begins with http:// and a request is a JSON body.
`{"target": NAME, "concurrency": C, "seconds": S}` keeps C requests under way for S seconds and answers with latencies
[ms], failures and the seconds taken.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

Ask = Callable[[int], Awaitable[bool]]


def write_requests(path: Path, requests: list[bytes]) -> Path:
    """Keep requests in a file, each after its length in 8 bytes."""
    path.write_bytes(b"".join(len(request).to_bytes(8, "little") + request for request in requests))
    return path


def read_requests(path: Path) -> list[bytes]:
    """Return the requests in a file."""
    data, found, place = path.read_bytes(), [], 0
    while place < len(data):
        end = place + 8 + int.from_bytes(data[place : place + 8], "little")
        found.append(data[place + 8 : end])
        place = end
    return found


def _grpc(url: str, requests: list[bytes]) -> Ask:
    import grpc

    # The bytes are what a stub would send: making them costs each target's client the same, nothing.
    options = [("grpc.max_receive_message_length", 2**31 - 1), ("grpc.max_send_message_length", 2**31 - 1)]
    call = grpc.aio.insecure_channel(url, options=options).unary_unary("/inference.GRPCInferenceService/ModelInfer")

    async def ask(number: int) -> bool:
        try:
            return bool(await call(requests[number % len(requests)], timeout=30))
        except grpc.aio.AioRpcError as error:
            print(error.details(), file=sys.stderr, flush=True)
            return False

    return ask


def _http(url: str, requests: list[bytes]) -> Ask:
    import aiohttp

    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    async def ask(number: int) -> bool:
        sent = requests[number % len(requests)]
        async with session.post(url, data=sent, headers={"Content-Type": "application/json"}) as answer:
            told = await answer.read()
            if answer.status != 200:
                print(told[:300], file=sys.stderr, flush=True)
            return answer.status == 200

    return ask


async def _load(ask: Ask, concurrency: int, seconds: float) -> dict[str, Any]:
    latencies: list[float] = []
    failures, number = 0, 0
    until = time.perf_counter() + seconds

    async def asker() -> None:
        nonlocal failures, number
        while (started := time.perf_counter()) < until:
            number += 1
            if await ask(number):
                latencies.append((time.perf_counter() - started) * 1e3)
            else:
                failures += 1

    started = time.perf_counter()
    await asyncio.gather(*(asker() for _ in range(concurrency)))
    return {"latencies": latencies, "failures": failures, "seconds": time.perf_counter() - started}


async def main() -> None:
    """Serve the process that started this one until it closes our input."""
    targets: dict[str, Ask] = {}
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        said = json.loads(line)
        if "url" in said:
            requests = read_requests(Path(said["requests"]))
            targets[said["target"]] = (_http if said["url"].startswith("http") else _grpc)(said["url"], requests)
            print("{}", flush=True)
            continue
        print(json.dumps(await _load(targets[said["target"]], said["concurrency"], said["seconds"])), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
