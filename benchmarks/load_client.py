"""The load generator for machines without a C compiler; arguments and output are those of load.c.

It needs several times the processor time of load.c, which both sides of a comparison pay.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

__all__ = ["main"]

MAX_HEAD = 65_536


@dataclass(slots=True)
class Tally:
    """What came back so far."""

    answered: int = 0
    cached: int = 0
    failed: int = 0
    body_bytes: int = 0
    latencies_ms: list[float] = field(default_factory=list)


async def _ask_all(host: str, port: int, requests: Iterator[bytes], tally: Tally) -> None:
    """One connection: the next request, its whole answer, until none is left."""
    reader, writer = await asyncio.open_connection(host, port, limit=MAX_HEAD)
    for request in requests:
        start = time.perf_counter()
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r")[0])
        await reader.readexactly(length)
        tally.latencies_ms.append((time.perf_counter() - start) * 1e3)
        if head[9:12] == b"200":
            tally.answered += 1
            tally.cached += b"\r\nx-pims-cache: hit" in head
            tally.body_bytes += length
        else:
            tally.failed += 1
    writer.close()


async def _load(host: str, port: int, requests: list[bytes], connections: int) -> dict[str, float]:
    tally = Tally()
    shared = iter(requests)
    start = time.perf_counter()
    await asyncio.gather(*(_ask_all(host, port, shared, tally) for _ in range(connections)))
    seconds = time.perf_counter() - start
    ordered = sorted(tally.latencies_ms)
    return {
        "requests": len(requests),
        "answered": tally.answered,
        "cached": tally.cached,
        "failed": tally.failed,
        "seconds": seconds,
        "body_bytes": tally.body_bytes,
        "p50_ms": ordered[(len(ordered) - 1) // 2],
        "p99_ms": ordered[(len(ordered) - 1) * 99 // 100],
    }


def main(arguments: Sequence[str]) -> int:
    """Run once; 0 when every answer was 200."""
    host, port, urls, connections, count, *headers = arguments
    paths = Path(urls).read_text("utf-8").split()
    lines = [f"Host: {host}:{port}", "Accept: */*", *headers]
    tail = "".join(f"{line}\r\n" for line in lines)
    total = int(count) or len(paths)
    requests = [f"GET {paths[i % len(paths)]} HTTP/1.1\r\n{tail}\r\n".encode() for i in range(total)]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(_load(host, int(port), requests, int(connections)))
    print(json.dumps(result))
    return 1 if result["failed"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
