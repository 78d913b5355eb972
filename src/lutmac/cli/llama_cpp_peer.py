"""llama.cpp as a contestant of `lutmac bench`, through llama-cpp-python's low-level calls.

Driven as llama.cpp's own llama-bench does: fixed tokens, no sampling, one `llama_decode` for a prompt and one per
decoded token. lutmac itself does not need llama-cpp-python; this file is imported on `--vs llama.cpp` only.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
from pathlib import Path
from typing import Any

from lutmac.cli.stopwatch import Span, Stopwatch
from lutmac.errors import CheckpointError, InvalidRequestError


def fixed_tokens(count: int, vocab_size: int) -> list[int]:
    """Token ids that look arbitrary and are the same in every run and for every engine."""
    return [(1009 + 7919 * i) % vocab_size for i in range(count)]


def check_installed() -> None:
    """Raises InvalidRequestError where llama-cpp-python is missing."""
    if importlib.util.find_spec("llama_cpp") is None:
        raise InvalidRequestError("--vs llama.cpp needs llama-cpp-python: `pip install llama-cpp-python` brings it")


class LlamaCpp:
    """One model file opened by llama.cpp, with a context per flash-attention setting."""

    name = "llama.cpp"

    def __init__(self, path: Path, max_tokens: int) -> None:
        """path: a GGUF file. max_tokens: the longest sequence that will be measured.

        Raises CheckpointError when llama.cpp cannot read the file; see check_installed for when it is not there.
        """
        self._api: Any = importlib.import_module("llama_cpp")
        api = self._api
        self._silence = api.llama_log_callback(lambda level, text, user_data: None)
        api.llama_log_set(self._silence, ctypes.c_void_p(0))
        api.llama_backend_init()
        model_params = api.llama_model_default_params()
        model_params.n_gpu_layers = 0
        self._model = api.llama_model_load_from_file(str(path).encode(), model_params)
        if not self._model:
            raise CheckpointError(f"{path}: llama.cpp cannot load this file")
        self._vocab_size = int(api.llama_vocab_n_tokens(api.llama_model_get_vocab(self._model)))
        self._contexts = {
            "flash": self._open_context(max_tokens, api.LLAMA_FLASH_ATTN_TYPE_ENABLED),
            "plain": self._open_context(max_tokens, api.LLAMA_FLASH_ATTN_TYPE_DISABLED),
        }
        self.variants = tuple(self._contexts)
        self._cached: dict[str, int] = dict.fromkeys(self._contexts, 0)

    @property
    def version(self) -> str:
        """Version of llama-cpp-python, and what its llama.cpp was compiled for."""
        features = self._api.llama_print_system_info().decode().strip().rstrip("|").strip()
        return f"llama-cpp-python {self._api.__version__} ({features})"

    def _open_context(self, max_tokens: int, flash_attention: int) -> Any:
        params = self._api.llama_context_default_params()
        params.n_ctx = max(256, max_tokens)
        params.n_batch = min(2048, params.n_ctx)
        params.n_ubatch = 512
        params.flash_attn_type = flash_attention
        context = self._api.llama_init_from_model(self._model, params)
        if not context:
            raise InvalidRequestError(f"llama.cpp cannot open a context of {params.n_ctx} tokens for this model")
        return context

    def close(self) -> None:
        """Frees the contexts and the model."""
        for context in self._contexts.values():
            self._api.llama_free(context)
        self._contexts = {}
        if self._model:
            self._api.llama_model_free(self._model)
            self._model = None

    def prefill(self, variant: str, threads: int, tokens: int) -> Span:
        """Time for a prompt of that many tokens with empty KV memory. variant: "flash" or "plain"."""
        context = self._prepare(variant, threads, keep=0)
        watch = Stopwatch()
        self._decode_prompt(variant, context, tokens)
        return watch.read()

    def decode(self, variant: str, threads: int, depth: int, tokens: int) -> Span:
        """Time for that many single-token steps behind `depth` tokens (at least one, as every engine here)."""
        depth = max(1, depth)
        keep = depth if self._cached[variant] >= depth else 0
        context = self._prepare(variant, threads, keep=keep)
        if keep == 0:
            self._decode_prompt(variant, context, depth)
        token = (self._api.llama_token * 1)(*fixed_tokens(1, self._vocab_size))
        watch = Stopwatch()
        for _ in range(tokens):
            self._check(self._api.llama_decode(context, self._api.llama_batch_get_one(token, 1)))
        self._api.llama_synchronize(context)
        span = watch.read()
        self._cached[variant] = depth + tokens
        return span

    def _prepare(self, variant: str, threads: int, keep: int) -> Any:
        """Sets both thread counts and clears the KV memory behind the first `keep` tokens."""
        context = self._contexts[variant]
        self._api.llama_set_n_threads(context, threads, threads)
        memory = self._api.llama_get_memory(context)
        if keep == 0:
            self._api.llama_memory_clear(memory, True)
        elif not self._api.llama_memory_seq_rm(memory, 0, keep, -1):
            raise InvalidRequestError("llama.cpp cannot shorten this model's KV memory: measure with --context 0")
        self._cached[variant] = keep
        return context

    def _decode_prompt(self, variant: str, context: Any, tokens: int) -> None:
        ids = fixed_tokens(tokens, self._vocab_size)
        batch_tokens = int(self._api.llama_n_batch(context))
        for start in range(0, tokens, batch_tokens):
            part = ids[start : start + batch_tokens]
            array = (self._api.llama_token * len(part))(*part)
            self._check(self._api.llama_decode(context, self._api.llama_batch_get_one(array, len(part))))
        self._api.llama_synchronize(context)
        self._cached[variant] = tokens

    @staticmethod
    def _check(status: int) -> None:
        if status != 0:
            raise InvalidRequestError(f"llama.cpp's llama_decode failed with status {status}")
