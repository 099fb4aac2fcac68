"""Sequencers that are killed, with SIGKILL, at a named place or moment of their work. Run as a program: ``URL VAR``; a place a line comes in.

Each is a fork of this process, so that thousands of kills take minutes: for each line it prints how the child ended. The product knows nothing of
this: the places are wrapped from outside. ``calls FILE`` writes which system calls the work takes, ``call NAME NUMBER`` kills at one of them.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from broker.audit import sequencer as module
from broker.audit.note import Checkpoint
from broker.audit.sequencer import SeenCheckpoint, Sequencer
from broker.crypto import load_keys
from broker.database import Database
from broker.settings import Settings
from tests.fakes.system_calls import Tracer, counting, killing

#: Place → what is wrapped. The order is that of the work.
FUNCTIONS = {
    "take-over": (Sequencer, "_take_over"),
    "adopt": (Sequencer, "_adopt_restored"),
    "hold": (module, "_held"),
    "append": (module, "_append"),
    "publish": (Sequencer, "_publish"),
    "sign": (Checkpoint, "signed"),
    "keep": (SeenCheckpoint, "write"),
    "replace": (Path, "replace"),
}
PLACES = [f"{when} {place}" for place in FUNCTIONS for when in ("before", "after")]


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(place: str) -> None:
    """Die at this place of the next work; ``within SECONDS``: after so long."""
    when, name = place.split(" ", 1)
    if when in {"call", "calls"}:
        os.kill(os.getpid(), signal.SIGSTOP)  # Until strace is there.
        return
    if when == "within":
        signal.signal(signal.SIGALRM, lambda *_: die())
        signal.setitimer(signal.ITIMER_REAL, max(float(name), 1e-6))
        return
    owner, attribute = FUNCTIONS[name]
    function = getattr(owner, attribute)

    def wrapped(*arguments, **named):
        if when == "before":
            die()
        answer = function(*arguments, **named)
        die()
        return answer

    setattr(owner, attribute, wrapped)


def traced(child: int, place: str) -> Tracer | None:
    """Attach strace to a child that stopped itself for that; None where the place asks for none."""
    match place.split(" "):
        case ["calls", file]:
            stopped = counting
            arguments = (Path(file),)
        case ["call", name, number]:
            stopped = killing
            arguments = (name, int(number))
        case _:
            return None
    os.waitpid(child, os.WUNTRACED)
    tracer = stopped(child, *arguments)
    os.kill(child, signal.SIGCONT)
    return tracer


def main() -> None:
    url, var = sys.argv[1:]
    settings = Settings(var=Path(var))
    keys = load_keys(settings)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            sequencer = Sequencer(Database(url, "broker_log"), settings, keys)
            arm(line.strip())
            # What another one's death left locked is free a moment later.
            until = time.monotonic() + 0.2
            while not sequencer.seal_once() and time.monotonic() < until:
                pass
            os._exit(0)
        tracer = traced(child, line.strip())
        _, status = os.waitpid(child, 0)
        if tracer is not None:
            tracer.end()
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
