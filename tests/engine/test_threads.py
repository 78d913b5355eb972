"""More threads than cores, cores taken by others, forked children: the same bits, and rest when there is no work."""

import multiprocessing
import subprocess
import sys
import time

import numpy as np
import pytest

import lutmac
from tiny_llama import TinyLlama

PROMPT = [(7 * i) % 256 for i in range(40)]
SPIN = "import time; end = time.time() + 60\nwhile time.time() < end: pass"


def generated(model: lutmac.Model) -> tuple[int, ...]:
    return model.generate(PROMPT, max_tokens=40, temperature=1.0, seed=3, ignore_eos=True).token_ids


def test_descheduled_threads_do_not_change_a_bit(tiny: TinyLlama) -> None:
    model = lutmac.load(tiny.path, threads=1)
    tokens, logits = generated(model), model.logits(PROMPT)
    others = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(3)]
    try:
        for threads in (2, 7, 16):
            model.threads = threads
            for _ in range(3):
                assert generated(model) == tokens
                np.testing.assert_array_equal(model.logits(PROMPT), logits)
    finally:
        for other in others:
            other.kill()
            other.wait()


def test_threads_sleep_when_there_is_nothing_to_do(tiny: TinyLlama) -> None:
    model = lutmac.load(tiny.path, threads=4)
    generated(model)
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.1  # three threads that spun on would take far more


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Python warns of forks beside threads
def test_a_forked_child_generates_too(tiny: TinyLlama) -> None:
    model = lutmac.load(tiny.path, threads=2)
    expected = generated(model)
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=lambda: sender.send(generated(model)))
    child.start()
    try:
        assert receiver.poll(60)
        assert receiver.recv() == expected
    finally:
        child.kill()
        child.join()
    assert generated(model) == expected
