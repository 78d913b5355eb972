"""What all tests share: the default model, the ISA target, and a tiny model made of random numbers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# NumPy's products are small here. Two threads of OpenBLAS wait for each other in a loop, which takes several times as
# long where the cores have other work. NumPy reads this when it is imported, below; tests' processes inherit it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import lutmac
from fetching import CannotFetchError, qwen_coder
from lutmac.engine.loading.pull import pull
from lutmac.errors import CheckpointError
from lutmac.lowbit.target import resolve_target
from tiny_llama import TinyLlama, make_tiny_llama


@pytest.fixture(scope="session")
def smollm2_path() -> Path:
    """The default model's file; pulled if it is not there yet."""
    try:
        return pull("smollm2")
    except CheckpointError as error:
        pytest.skip(f"the default model cannot be had: {error}")


@pytest.fixture(scope="session")
def qwen_coder_path() -> Path:
    """Qwen2.5-Coder-0.5B-Instruct in Q4_K_M: a real model with tool calls and fill-in-the-middle."""
    try:
        return qwen_coder()
    except CannotFetchError as error:
        pytest.skip(f"Qwen2.5-Coder cannot be had: {error}")


@pytest.fixture(scope="session")
def isa_target() -> str:
    """The ISA target that these tests run on: LUTMAC_ISA, else this CPU's best."""
    return resolve_target()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyLlama:
    """A random llama in Q4_0 with 2 layers and 260 tokens."""
    return make_tiny_llama(tmp_path_factory.mktemp("tiny") / "tiny.gguf", "Q4_0")


@pytest.fixture(scope="session")
def tiny_model(tiny: TinyLlama) -> lutmac.Model:
    """That model, loaded. Tests that count pages or change threads load their own."""
    return lutmac.load(tiny.path, threads=1)
