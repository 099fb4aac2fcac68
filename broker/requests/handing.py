"""Handing a copy over while the patient's gate is held, so that whoever freezes, restricts or destroys stops it on its way.

A containment waits for the gate (``docs/decisions/0002``). The copy may be long and its reader slow, so it looks every moment whether
somebody waits for the gate alone, and then stops at the end of a chunk: what was taken until then is on record as partial.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from broker.requests.copying import Copy, Held

#: Seconds between two looks at who waits; half of what a containment may be kept waiting.
LOOK = 0.25

#: A copy as it goes out: its bytes and their headers.
Form = Callable[[Copy], tuple[bytes, Mapping[str, str]]]
#: Sends a body and says whether every byte was taken.
Deliver = Callable[..., Awaitable[bool]]


class CopyAnswer(Response):
    """An answer that is read, recorded and sent while the gate is held."""

    def __init__(self, held: AbstractContextManager[Held], form: Form, deliver: Deliver, *, seconds: float) -> None:
        super().__init__()
        self.held = held  #: begins when it is entered
        self.form = form
        self.deliver = deliver
        self.seconds = seconds  #: for which a recipient may take nothing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises what making the copy raises, before the first byte."""
        del scope
        held = await asyncio.to_thread(self.held.__enter__)
        try:
            body, headers = await asyncio.to_thread(self.form, held.copy)
            sending = asyncio.ensure_future(self.deliver(send, receive, body=body, headers=headers, seconds=self.seconds))
            try:
                while not sending.done():
                    await asyncio.wait({sending}, timeout=LOOK)
                    if not sending.done() and await asyncio.to_thread(held.is_awaited):
                        break
            finally:
                if not sending.done():
                    sending.cancel()
                await asyncio.wait({sending})
            held.complete = not sending.cancelled() and sending.result()
        finally:
            await asyncio.shield(asyncio.to_thread(self.held.__exit__, None, None, None))
