"""What reads bytes from outside answers or refuses, whatever it gets: the seeds of the fuzzer and seeded changes of them (D20, B14).

`make fuzz` goes on from here with Atheris. BROKER_FUZZ: changes for each target (default 300).
"""

from __future__ import annotations

import os

import pytest

from tools.fuzz import targets as fuzz

COUNT = int(os.environ.get("BROKER_FUZZ", "300"))


@pytest.mark.parametrize("name", fuzz.TARGETS)
def test_every_parser_answers_or_refuses(name):
    for data in (*fuzz.SEEDS[name], b"", b"\x00", b"null", b"[]", b"{}", *fuzz.changed(name, COUNT)):
        fuzz.run(name, data)


def test_it_can_fail(monkeypatch):
    monkeypatch.setitem(fuzz.TARGETS, "json", lambda data: data.decode("ascii") and None)
    with pytest.raises(UnicodeDecodeError):
        fuzz.run("json", b"\xff")
