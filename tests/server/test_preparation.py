"""Work before the queue: whose turn it is, what one client may have waiting, what is refused without being read."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

import lutmac
from lutmac.errors import ContextOverflowError
from lutmac.server.body_room import LARGEST_AT_ONCE, BodyRoom
from lutmac.server.clients import current_client, name_client
from lutmac.server.errors import ApiError
from lutmac.server.preparation import MOST_LONG_WAITING, SHORT_BYTES, Preparation
from lutmac.text import length
from lutmac.text.tokenizer import Tokenizer
from tiny_llama import TinyLlama

LONG = SHORT_BYTES + 1


def ask(preparation: Preparation, client: str, function: Callable[[], Any], size: int) -> asyncio.Task[Any]:
    current_client.set(client)
    return asyncio.ensure_future(preparation.run(function, size))  # a task begins with a copy of what is set


def test_clients_take_turns_and_short_work_never_waits_for_long_work() -> None:
    async def run() -> list[str]:
        preparation, gate, order = Preparation(), threading.Event(), list[str]()
        tasks = [ask(preparation, "a", gate.wait, LONG)]
        await asyncio.sleep(0.05)  # the thread has it
        tasks += [ask(preparation, "a", lambda n=n: order.append(f"a{n}"), LONG) for n in range(3)]
        await asyncio.sleep(0)
        tasks += [ask(preparation, "b", lambda: order.append("b"), LONG)]
        assert await ask(preparation, "a", lambda: "short", 10) == "short"
        assert order == []
        gate.set()
        await asyncio.gather(*tasks)
        return order

    assert asyncio.run(run()) == ["a0", "b", "a1", "a2"]


def test_one_client_has_only_so_much_waiting_and_what_is_cancelled_is_not_done() -> None:
    async def run() -> None:
        preparation, gate, done = Preparation(), threading.Event(), list[int]()
        first = ask(preparation, "a", gate.wait, LONG)
        await asyncio.sleep(0.05)
        waiting = [ask(preparation, "a", lambda n=n: done.append(n), LONG) for n in range(MOST_LONG_WAITING)]
        await asyncio.sleep(0)
        with pytest.raises(ApiError) as refused:
            await ask(preparation, "a", lambda: None, LONG)
        assert (refused.value.status, "Retry-After" in refused.value.headers) == (429, True)
        other = ask(preparation, "b", lambda: "b", LONG)
        for task in waiting[1:]:
            task.cancel()
        gate.set()
        assert await other == "b"
        await asyncio.gather(first, waiting[0])
        assert done == [0]

    asyncio.run(run())


def test_what_a_function_raises_comes_back() -> None:
    class Panic(BaseException):
        """As a library's that is no Exception."""

    def panic() -> None:
        raise Panic("all is lost")

    async def run() -> None:
        preparation = Preparation()
        with pytest.raises(ZeroDivisionError):
            await preparation.run(lambda: 1 // 0, 1)
        with pytest.raises(RuntimeError, match="all is lost"):
            await preparation.run(panic, 1)
        assert await preparation.run(lambda: 1, 1) == 1

    asyncio.run(run())


def test_clients_are_told_apart_by_key_or_by_network() -> None:
    def name(address: str | None, key: bytes | None = None) -> str:
        return name_client({"client": address and (address, 1)}, key)

    assert name("10.0.0.1") == name("10.0.0.1") == name("::ffff:10.0.0.1") != name("10.0.0.2")
    assert name("2001:db8::1") == name("2001:db8::ffff") != name("2001:db8:0:1::1")
    assert name("10.0.0.1", b"a key") == name("10.0.0.2", b"a key") != name("10.0.0.1", b"another")
    assert "a key" not in name("10.0.0.1", b"a key")
    assert name(None) == ""


def test_bodies_of_one_client_leave_room_for_others() -> None:
    room = BodyRoom(10)
    current_client.set("a")
    with room.taken() as held:
        held.grow(5 * LARGEST_AT_ONCE)
        with pytest.raises(ApiError) as refused, room.taken() as more:
            more.grow(1)
        assert refused.value.status == 429
        current_client.set("b")
        with room.taken() as other:
            other.grow(10)
    current_client.set("a")
    with room.taken() as held:
        held.grow(10)


@pytest.fixture(scope="module")
def tokenizer(tiny: TinyLlama) -> Tokenizer:
    return lutmac.load(tiny.path).tokenizer


def test_a_token_stands_for_so_many_bytes_at_most(tokenizer: Tokenizer) -> None:
    longest = max(len(tokenizer.token_bytes(id)) for id in range(tokenizer.vocab_size))
    bound = length.bytes_per_token(tokenizer)
    assert bound is not None
    assert bound >= longest


@pytest.mark.parametrize("text", ["1", "word ", "\n", "é", "\U0001f468\u200d", "a"])
def test_texts_that_fit_pass_and_texts_that_do_not_are_refused(tokenizer: Tokenizer, text: str) -> None:
    whole = text * (40 * length.PIECE // len(text))
    count = len(tokenizer.encode(whole, add_special=False))
    length.check_segments(tokenizer, [(whole[: len(whole) // 2], False), (whole[len(whole) // 2 :], True)], count)
    length.check_bytes(tokenizer, length.byte_length(whole), count)
    with pytest.raises(ContextOverflowError):
        length.check_segments(tokenizer, [(whole, False)], count // 16)


def test_a_text_beyond_all_bounds_is_not_read(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    encode = tokenizer.encode
    monkeypatch.setattr(tokenizer, "encode", lambda text, **kwargs: read.append(len(text)) or encode(text, **kwargs))
    with pytest.raises(ContextOverflowError):
        length.check_segments(tokenizer, [("1" * 4_000_000, False)], 1000)
    assert sum(read) < 100_000
