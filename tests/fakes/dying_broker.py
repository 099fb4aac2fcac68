"""A broker that kills itself, with SIGKILL, at a named place of a release. Run as a program by the crash tests: ``PORT PLACE``.

The product knows nothing of this: the places are wrapped from outside, and everything else is the broker as it serves.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time

import uvicorn

from broker.app import create_app, open_installation
from broker.cli.serve import UnbufferedProtocol
from broker.release import collect, routes, service
from broker.settings import settings
from broker.wire import COMMIT

#: Place → the module and the function that is wrapped.
FUNCTIONS = {
    "gate": (service, "behind_the_gate"),
    "decision": (service, "judged"),
    "intent": (service, "record_intent"),
    "fetch": (collect, "safely"),
    "send": (routes, "deliver"),
    "outcome": (service, "record_outcome"),
}

PLACES = [*(f"{when} {place}" for place in FUNCTIONS for when in ("before", "after")), "during send", "during outcome"]


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _wrapped(function, when):
    async def wrapped(*arguments, **named):
        if when == "before":
            die()
        answer = await function(*arguments, **named)
        die()
        return answer

    return wrapped


def _dying_while_sending(deliver):
    async def wrapped(send, receive, **named):
        async def sending(message):
            await send(message)
            if message["type"] == "http.response.body" and message.get("body"):
                die()

        return await deliver(sending, receive, **named)

    return wrapped


def _dying_before_commit(record_outcome):
    async def wrapped(connection, *arguments, **named):
        run = service.run

        async def running(used, *calls):
            await run(used, *(call for call in calls if call[0] is not COMMIT))
            if used is connection:
                die()

        service.run = running
        return await record_outcome(connection, *arguments, **named)

    return wrapped


def arm(place: str) -> None:
    """Make the process die at this place of its next release; ``within SECONDS``: at any moment in that time."""
    when, name = place.split(" ", 1)
    if when == "within":
        delay = random.uniform(0, float(name))
        threading.Thread(target=lambda: (time.sleep(delay), die()), daemon=True).start()
    elif place == "during send":
        routes.deliver = _dying_while_sending(routes.deliver)
    elif place == "during outcome":
        service.record_outcome = _dying_before_commit(service.record_outcome)
    else:
        module, function = FUNCTIONS[name]
        setattr(module, function, _wrapped(getattr(module, function), when))


def main() -> None:
    port, place = int(sys.argv[1]), sys.argv[2]
    app = create_app(open_installation(settings()), sequencer=False, work=False)
    config = uvicorn.Config(app, host="127.0.0.1", port=port, http=UnbufferedProtocol, log_level="warning", lifespan="on")
    if not place.startswith("within"):
        arm(place)
    else:
        # The clock starts with the first request, so that the kill falls into it.
        gated = routes.GatedAnswer.__call__

        async def armed(self, *arguments):
            arm(place)
            await gated(self, *arguments)

        routes.GatedAnswer.__call__ = armed
    uvicorn.Server(config).run()


if __name__ == "__main__":
    main()
