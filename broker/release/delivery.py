"""Step 7: bytes to the recipient while the gate is held, in chunks, none of which may take longer than the limit.

The gate stays shut to withdrawals until the last chunk has been taken by the operating system (broker.cli.serve sets the
transport to buffer nothing). A recipient that stalls is cut off, so that a withdrawal never waits long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from starlette.types import Receive, Send

#: Bytes between two looks at the clock and at the recipient.
CHUNK = 262_144

#: Turns of the event loop until a failed write is heard of here: the transport ends the connection in the next turn, and whoever
#: waits for that is woken in the one after it. One more, since a turn costs nothing and a wrong record does.
TURNS = 3


async def deliver(send: Send, receive: Receive, *, body: bytes, headers: Mapping[str, str], seconds: float, status: int = 200) -> bool:
    """Send the body; whether every byte was taken. False when the recipient went away or took nothing for ``seconds``."""
    loop = asyncio.get_running_loop()
    gone = asyncio.ensure_future(_disconnected(receive))
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    try:
        async with asyncio.timeout(seconds) as limit:
            await send({"type": "http.response.start", "status": status, "headers": raw})
            for offset in range(0, len(body), CHUNK):
                if gone.done():
                    return False
                await send({"type": "http.response.body", "body": body[offset : offset + CHUNK], "more_body": True})
                limit.reschedule(loop.time() + seconds)
            # An empty message returns only when the transport's buffer is empty, or when the recipient went away; which, is heard next.
            await send({"type": "http.response.body", "body": b"", "more_body": True})
            for _ in range(TURNS):
                await asyncio.sleep(0)
            if gone.done():
                return False
            await send({"type": "http.response.body", "body": b"", "more_body": False})
    except (TimeoutError, OSError):
        return False
    finally:
        gone.cancel()
        with suppress(asyncio.CancelledError):
            await gone
    return True


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
