"""System calls of a process, counted and died at, by strace (F-02). It needs strace, and leave to trace (ptrace)."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections import Counter
from functools import cache
from pathlib import Path
from random import Random

#: Calls that tell somebody something or leave something behind: between two of them nothing happens that anybody could see.
TELLING = ("sendto", "sendmsg", "write", "fsync", "fdatasync", "rename")
CALLS = (*TELLING, "recvfrom", "openat", "connect", "close")

_LINE = re.compile(r"^([0-9]+) +([a-z0-9_]+)\(")


class Tracer:
    """strace on a running process with all its threads, attached when this returns."""

    def __init__(self, process: int, *options: str) -> None:
        # Its own words go to stderr; the first of them says that it is attached.
        self._tracer = subprocess.Popen(["strace", "-f", "-p", str(process), *options], stderr=subprocess.PIPE, text=True)
        first = self._tracer.stderr.readline()
        if "attached" not in first:
            self._tracer.communicate()
            raise OSError(f"strace: {first.strip()}")

    def end(self) -> None:
        """Let go; the process goes on, if it lives."""
        self._tracer.send_signal(signal.SIGINT)
        self._tracer.communicate()


def counting(process: int, file: Path) -> Tracer:
    """Write each of CALLS that the process makes to a file."""
    return Tracer(process, "-o", str(file), "-e", f"trace={','.join(CALLS)}", "-e", "signal=none")


def counted(file: Path) -> Counter[str]:
    """How often each call was made, by the thread that made it most often: strace counts by thread."""
    calls = Counter(match.groups() for line in file.read_text(errors="replace").splitlines() if (match := _LINE.match(line)))
    return Counter({call: max(count for (_, name), count in calls.items() if name == call) for _, call in calls})


def points(calls: Counter[str], chance: Random) -> list[tuple[str, int]]:
    """Every call of the work with its number, in an order left to chance; those that tell somebody something come first."""
    found = [(call, number) for call, count in sorted(calls.items()) for number in range(1, count + 1)]
    chance.shuffle(found)
    return sorted(found, key=lambda point: point[0] not in TELLING)


def killing(process: int, call: str, number: int) -> Tracer:
    """Let the process die as it enters this call for the so-manieth time; the call is not made."""
    return Tracer(process, "-o", os.devnull, "-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={number}")


@cache
def hindrance() -> str | None:
    """Why this can't be done here; None where it can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        try:
            Tracer(sleeper.pid, "-o", os.devnull).end()
        except OSError as error:
            return f"strace may not trace here: {error}"
        finally:
            sleeper.kill()
    return None
