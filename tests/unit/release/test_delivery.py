"""Step 7: every byte or an honest no."""

from __future__ import annotations

import asyncio

import pytest

from broker.release.delivery import CHUNK, deliver

BODY = b"x" * (CHUNK * 2 + 10)


def run(send, receive, seconds=0.2):
    return asyncio.run(deliver(send, receive, body=BODY, headers={"Content-Type": "a/b"}, seconds=seconds))


async def never():
    await asyncio.sleep(3600)


def test_all_is_taken():
    sent = []

    async def send(message):
        sent.append(message)

    assert run(send, never) is True
    assert b"".join(message.get("body", b"") for message in sent[1:]) == BODY
    assert sent[-1]["more_body"] is False
    assert sent[0]["headers"] == [(b"content-type", b"a/b")]


@pytest.mark.parametrize("stalls_at", [0, 1, 2, 4])
def test_a_recipient_that_stalls_is_cut_off(stalls_at):
    count = 0

    async def send(_message):
        nonlocal count
        if count == stalls_at:
            await asyncio.sleep(3600)
        count += 1

    assert run(send, never) is False


def test_a_recipient_that_went_away_gets_no_more():
    sent = []

    async def send(message):
        sent.append(message)
        await asyncio.sleep(0.01)

    async def gone():
        return {"type": "http.disconnect"}

    assert run(send, gone) is False
    assert sum(len(message.get("body", b"")) for message in sent[1:]) < len(BODY)


def test_a_broken_connection_is_a_no():
    async def send(_message):
        raise OSError

    assert run(send, never) is False


def test_a_write_that_fails_at_once_is_heard_of_before_it_counts():
    """The transport tells of it in a later turn of the loop: a failed write of the last bytes must not look like a finished one."""

    async def story():
        loop, ended = asyncio.get_running_loop(), asyncio.Event()

        async def receive():
            await ended.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            if message["type"] == "http.response.body" and message["body"]:
                loop.call_soon(ended.set)  # as asyncio's transports do after a write that failed

        return await deliver(send, receive, body=b"x" * 100, headers={}, seconds=2)

    assert asyncio.run(story()) is False
