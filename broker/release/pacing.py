"""When a refusal is answered: on the next even step of time since the call came in, so that its moment tells nothing.

A patient or a resource that nobody has is refused sooner than one that policy or consent withholds, since less is read. Whoever
measures sees steps, the same for all of them (attacks B15, G13). Nothing is held meanwhile: neither the gate nor a connection.
"""

from __future__ import annotations

import asyncio
import math

from broker.release.answers import Kind

#: Refusals behind which something may or may not be.
PACED = frozenset({Kind.REFUSED, Kind.NOT_FOUND})


def pause(passed: float, step: float) -> float:
    """Seconds until the next whole step after ``passed`` seconds; none without a step."""
    return 0.0 if step <= 0 else (math.floor(passed / step) + 1) * step - passed


async def even(began: float, step: float) -> None:
    """Wait until a whole number of steps (seconds each) has passed since ``began`` (the event loop's time)."""
    await asyncio.sleep(pause(asyncio.get_running_loop().time() - began, step))
