"""A small load generator: keep-alive HTTP/1.1 over raw sockets, so that it costs next to nothing beside what it measures."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Load:
    """What a round of load gave."""

    requests: int
    seconds: float
    bytes: int
    failed: int
    waits: tuple[float, ...]  #: seconds of each request, ordered

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


async def _one(host: str, port: int, request: bytes, until: float, counts: list[int], waits: list[float]) -> None:
    reader, writer = await asyncio.open_connection(host, port, limit=1 << 22)
    try:
        while time.perf_counter() < until:
            begun = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head[9:12])
            length = 0
            for line in head.split(b"\r\n")[1:]:
                if line[:15].lower() == b"content-length:":
                    length = int(line[15:])
            await reader.readexactly(length)
            counts[0] += 1
            counts[1] += length
            counts[2] += status != 200
            waits.append(time.perf_counter() - begun)
    finally:
        writer.close()


async def run(host: str, port: int, request: bytes, seconds: float, connections: int) -> Load:
    """Send the same request over ``connections`` connections for ``seconds``."""
    counts = [0, 0, 0]
    waits: list[float] = []
    start = time.perf_counter()
    await asyncio.gather(*(_one(host, port, request, start + seconds, counts, waits) for _ in range(connections)))
    return Load(counts[0], time.perf_counter() - start, counts[1], counts[2], tuple(sorted(waits)))


def main() -> None:
    """``load.py HOST PORT SECONDS CONNECTIONS < request``; prints requests, seconds, bytes, failed, and the 50th and 99th percentile in seconds."""
    host, port, seconds, connections = sys.argv[1:5]
    load = asyncio.run(run(host, int(port), sys.stdin.buffer.read(), float(seconds), int(connections)))
    middle, slow = (load.waits[int(len(load.waits) * share)] for share in (0.5, 0.99))
    print(load.requests, load.seconds, load.bytes, load.failed, middle, slow)


if __name__ == "__main__":
    main()
