"""A completion as llama.cpp writes it, whole or in events."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any

from lutmac.engine.sampling.options import SAMPLING_OPTIONS
from lutmac.engine.sampling.results import Chunk, Completion, PromptProgress, TokenLogprob
from lutmac.server.logprobs import LOWEST, token_text
from lutmac.server.schemas.llama_cpp import CompletionOptions
from lutmac.text.tokenizer import Tokenizer

Fields = dict[str, Any]


class LlamaCppWriter:
    """One completion, as far as it has come. done: whether its time is up, or it has ended."""

    def __init__(
        self, index: int, asked: CompletionOptions, model: str, prompt: list[int], tokenizer: Tokenizer
    ) -> None:
        """model: its name. prompt: token ids."""
        self.done = False
        self._index = index
        self._asked = asked
        self._model = model
        self._prompt = prompt
        self._tokenizer = tokenizer
        self._text = ""
        self._tokens: list[int] = []
        self._probabilities: list[Fields] = []
        self._completion: Completion | None = None
        self._began = perf_counter()
        self._first_at: float | None = None

    def add(self, chunk: Chunk) -> Fields:
        """Takes a chunk in; returns the event that tells it."""
        if chunk.progress is not None:
            return {**self._event("", []), "prompt_progress": progress_fields(chunk.progress)}
        if self._first_at is None:
            self._first_at = perf_counter()
        probabilities = [self._probability(item) for item in chunk.logprobs or ()]
        self._text += chunk.text
        self._tokens += chunk.token_ids
        self._probabilities += probabilities
        self._completion = chunk.completion
        self.done = chunk.completion is not None or self._time_is_up()
        event = self._event(chunk.text, list(chunk.token_ids))
        if probabilities:
            event["completion_probabilities"] = probabilities
        if self._asked.timings_per_token:
            event["timings"] = self._timings()
        return event

    def whole(self, *, in_stream: bool = False) -> Fields:
        """The answer. in_stream: as the last event, which does not say again what others said."""
        completion = self._completion
        reason = "limit"
        if completion is not None and completion.finish_reason == "stop":
            reason = "word" if completion.stop_string is not None else "eos"
        cached = completion.cached_tokens if completion is not None else 0
        found = {
            **self._event("" if in_stream else self._text, self._tokens if self._asked.return_tokens else []),
            "stop": True,
            "model": self._model,
            "generation_settings": settings(self._asked),
            "prompt": self._tokenizer.decode(self._prompt, skip_special=False),
            "has_new_line": "\n" in self._text,
            "truncated": False,
            "stop_type": reason,
            "stopping_word": (completion.stop_string or "") if completion is not None else "",
            "tokens_cached": cached,
            "timings": self._timings(),
        }
        if self._probabilities and not in_stream:
            found["completion_probabilities"] = self._probabilities
        return found if self._asked.response_fields is None else _only(self._asked.response_fields, found)

    def _event(self, text: str, tokens: list[int]) -> Fields:
        return {
            "index": self._index,
            "content": text,
            "tokens": tokens,
            "stop": False,
            "id_slot": 0,
            "tokens_predicted": len(self._tokens),
            "tokens_evaluated": len(self._prompt),
        }

    def _time_is_up(self) -> bool:
        limit, first = self._asked.t_max_predict_ms, self._first_at
        return bool(limit) and first is not None and "\n" in self._text and perf_counter() - first > limit / 1000

    def _timings(self) -> Fields:
        now, first = perf_counter(), self._first_at
        cached = self._completion.cached_tokens if self._completion is not None else 0
        read, made = len(self._prompt) - cached, len(self._tokens)
        reading = ((first or now) - self._began) * 1000
        making = (now - (first or now)) * 1000
        return {
            "cache_n": cached,
            "prompt_n": read,
            "prompt_ms": reading,
            "prompt_per_token_ms": reading / max(read, 1),
            "prompt_per_second": 1000 * read / max(reading, 1e-3),
            "predicted_n": made,
            "predicted_ms": making,
            "predicted_per_token_ms": making / max(made, 1),
            "predicted_per_second": 1000 * made / max(making, 1e-3),
        }

    def _probability(self, item: TokenLogprob) -> Fields:
        return {**self._likely(item.token_id, item.logprob), "top_logprobs": [self._likely(*one) for one in item.top]}

    def _likely(self, id: int, logprob: float) -> Fields:
        text, data = token_text(self._tokenizer, id), list(self._tokenizer.token_bytes(id))
        return {"id": id, "token": text, "bytes": data, "logprob": max(logprob, LOWEST)}


def settings(asked: CompletionOptions) -> Fields:
    """What was asked for, by llama.cpp's names."""
    given = asked.model_dump(include=set(_SETTINGS), exclude_none=True)
    found = {_SETTINGS[name]: value for name, value in given.items()}
    stop = [asked.stop] if isinstance(asked.stop, str) else asked.stop or []
    return {**found, "max_tokens": asked.max_tokens, "stop": stop}


_SETTINGS = {
    **{name: row.llama_cpp_name for name, row in SAMPLING_OPTIONS.items()},
    "max_tokens": "n_predict", "ignore_eos": "ignore_eos", "stream": "stream", "n_probs": "n_probs",
    "timings_per_token": "timings_per_token",
}  # fmt: skip


def progress_fields(progress: PromptProgress) -> Fields:
    """How far a prompt has been read, as llama.cpp says it."""
    return {
        "total": progress.total,
        "cache": progress.cached,
        "processed": progress.read,
        "time_ms": round(progress.seconds * 1000),
    }


def _only(wanted: Sequence[str], fields: Fields) -> Fields:
    """The wanted fields, each by the path that names it; what is not there is left out."""
    found = {}
    for path in wanted:
        value: Any = fields
        for key in path.split("/"):
            value = value.get(key, _only) if isinstance(value, dict) else _only
        if value is not _only:
            found[path] = value
    return found
