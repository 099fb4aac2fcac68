"""Brokers that kill themselves, with SIGKILL, at a named place of a release. Run as a program; a line ``PORT PLACE`` comes in for each.

Each is a fork of this process, which prints its number. The line after that, ``surely`` or ``perhaps``, asks how it ended: whoever does not die
by itself is killed. The product knows nothing of this: the places are wrapped from outside, and everything else is the broker as it serves.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time

import uvicorn
from fastapi import FastAPI

from broker.app import create_app, open_installation
from broker.cli.serve import UnbufferedProtocol
from broker.release import collect, prepared, routes, service
from broker.settings import settings
from broker.wire import COMMIT

#: Place → the module and the function that is wrapped.
FUNCTIONS = {
    "gate": (service, "behind_the_gate"),
    "decision": (service, "judged"),
    "intent": (service, "record_intent"),
    "fetch": (collect, "safely"),
    "send": (routes, "deliver"),
    "keep": (prepared, "keep"),
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


def serve(app: FastAPI, port: int, place: str) -> None:
    config = uvicorn.Config(app, host="127.0.0.1", port=port, http=UnbufferedProtocol, log_level="warning", lifespan="on")
    if place == "nowhere":
        pass  # It is killed from outside.
    elif not place.startswith("within"):
        arm(place)
    else:
        # The clock starts with the first request, so that the kill falls into it.
        gated = routes.GatedAnswer.__call__

        async def armed(self, *arguments):
            arm(place)
            await gated(self, *arguments)

        routes.GatedAnswer.__call__ = armed
    uvicorn.Server(config).run()


def ended(child: int, patience: float) -> int:
    """How a child ended, or its number where it lived so many seconds longer; then it is killed."""
    until = time.monotonic() + patience
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return child
        time.sleep(0.01)


def tell(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def main() -> None:
    installation = open_installation(settings())
    app = create_app(installation, sequencer=False, work=False)
    # What is forked off must share nothing that is alive: no connection, no thread.
    installation.database.dispose()
    if threading.active_count() != 1:
        raise RuntimeError("a fork would lose threads")
    for line in sys.stdin:
        port, place = line.strip().split(" ", 1)
        child = os.fork()
        if child == 0:
            serve(app, int(port), place)
            os._exit(0)
        tell(child)
        tell(ended(child, 60 if sys.stdin.readline().strip() == "surely" else 0))


if __name__ == "__main__":
    main()
