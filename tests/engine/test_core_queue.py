"""How the engines of a process share its cores."""

from __future__ import annotations

import os
import time
from threading import Barrier, Thread

import numpy as np
import pytest

import lutmac
from lutmac.engine.core_queue import CoreUser
from tiny_llama import TinyLlama


class Busy(Thread):
    """Uses the cores again and again, for so many seconds each time, until the end. used: seconds that it had."""

    def __init__(self, step: float, end: float, clients: int = 1) -> None:
        super().__init__()
        self.step, self.end, self.clients, self.used = step, end, clients, 0.0

    def run(self) -> None:
        user = CoreUser()
        while time.monotonic() < self.end:
            with user.all_cores() as used:
                began = time.monotonic()
                time.sleep(self.step)
                used.clients, used.is_back = self.clients, True
                self.used += time.monotonic() - began


@pytest.mark.parametrize(("clients", "ratio"), [(1, 1.0), (3, 3.0)])
def test_time_is_shared_by_clients_however_long_the_steps_are(clients: int, ratio: float) -> None:
    end = time.monotonic() + 1.0
    long, short = Busy(0.02, end), Busy(0.002, end, clients)
    for thread in (long, short):
        thread.start()
    for thread in (long, short):
        thread.join()
    assert short.used / long.used == pytest.approx(ratio, rel=0.35)


def test_who_comes_is_next() -> None:
    end = time.monotonic() + 0.6
    others = [Busy(0.02, end) for _ in range(3)]
    for thread in others:
        thread.start()
    waits = []
    while time.monotonic() < end - 0.1:
        time.sleep(0.05)
        began = time.monotonic()
        with CoreUser().all_cores():
            waits.append(time.monotonic() - began)
    for thread in others:
        thread.join()
    assert np.median(waits) < 0.03  # what is left of the step that runs


def test_one_at_a_time() -> None:
    inside, most, barrier = [0], [0], Barrier(4)

    def work() -> None:
        user = CoreUser()
        barrier.wait()
        for _ in range(20):
            with user.all_cores() as used:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0.0005)
                inside[0] -= 1
                used.is_back = True

    threads = [Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]


def test_an_error_gives_the_cores_back() -> None:
    user = CoreUser()
    with pytest.raises(ZeroDivisionError), user.all_cores():
        raise ZeroDivisionError
    with CoreUser().all_cores():
        assert user.shares
    assert not user.shares


def test_cores_that_an_interrupt_kept_from_being_given_back_are_the_users_again() -> None:
    user = CoreUser()
    user.all_cores().__enter__()
    with user.all_cores():
        assert not user.shares
    with CoreUser().all_cores():
        assert user.shares


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_a_queue_of_its_own() -> None:
    with CoreUser().all_cores():
        child = os.fork()
        if not child:
            with CoreUser().all_cores():
                os._exit(0)
        assert os.waitpid(child, 0)[1] == 0


def test_two_models_at_once_say_what_each_says_alone(tiny: TinyLlama) -> None:
    models = [lutmac.load(tiny.path, threads=2) for _ in range(2)]
    prompts = ["one", "another"]
    alone = [
        model.generate(text, max_tokens=40, temperature=0).token_ids
        for model, text in zip(models, prompts, strict=True)
    ]
    found: dict[int, tuple[int, ...]] = {}

    def generate(place: int) -> None:
        found[place] = models[place].generate(prompts[place], max_tokens=40, temperature=0).token_ids

    threads = [Thread(target=generate, args=(place,)) for place in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[0], found[1]] == alone
