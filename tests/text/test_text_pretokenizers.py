"""The pre-tokenizers that a file can name."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given, settings
from tokenizers import Regex
from tokenizers.pre_tokenizers import Sequence, Split
from vocabularies import Metadata, texts

from lutmac.errors import UnsupportedModelError
from lutmac.text import Tokenizer
from lutmac.text.pretokenizers import PRE_TOKENIZERS, pre_tokenizer


def words(name: str, text: str) -> list[str]:
    """The words that the pre-tokenizer of that name cuts a text into."""
    chain = Sequence([Split(Regex(pattern), "isolated") for pattern in PRE_TOKENIZERS[name].patterns])
    return [word for word, _ in chain.pre_tokenize_str(text)]


@pytest.mark.parametrize("name", [name for name, kind in PRE_TOKENIZERS.items() if not kind.spaces])
def test_every_known_pre_tokenizer_loses_nothing(bpe_metadata: Metadata, name: str) -> None:
    tokenizer = Tokenizer.from_gguf({**bpe_metadata, "tokenizer.ggml.pre": name})

    @settings(max_examples=25)
    @given(text=texts)
    def round_trip(text: str) -> None:
        kept = unicodedata.normalize("NFC", text) if PRE_TOKENIZERS[name].normalizes else text
        assert tokenizer.decode(tokenizer.encode(text)) == kept

    round_trip()


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("gpt-2", "It's  1234!", ["It", "'s", " ", " 1234", "!"]),
        ("smollm", "It's 1234", ["It", "'s", " ", "1", "2", "3", "4"]),
        ("llama-bpe", "IT'S 12345\n\n x", ["IT", "'S", " ", "123", "45", "\n\n", " x"]),
        ("qwen2", "a 123 b.\n", ["a", " ", "1", "2", "3", " b", ".\n"]),
        ("qwen35", "किताब", ["किताब"]),
        ("qwen2", "किताब", ["क", "ित", "ाब"]),
        ("gpt-4o", "camelCaseIsn't 1234", ["camel", "Case", "Isn't", " ", "123", "4"]),
        ("tekken", "camelCase 12", ["camel", "Case", " ", "1", "2"]),
        ("deepseek-v3", "日本go 1234", ["日本", "go", " ", "123", "4"]),
        ("falcon", "a+b 1234", ["a", "+", "b", " ", "123", "4"]),
        ("bloom", "Hello, world 12", ["Hello", ",", " world", " 12"]),
        ("tiny_aya", "1234567", ["1", "234", "567"]),
        ("superbpe", "is 1234567", ["is ", "1", "234", "567"]),
        ("kimi-k2", "日本goes 12", ["日本", "goes", " ", "12"]),
        ("spark2_5", "a.b\n\n12", ["a", ".b", "\n", "\n", "1", "2"]),
        ("afmoe", "1234567 日本go", ["1", "234", "567", " ", "日本", "go"]),
        ("chameleon", "a    b12 IMGIMGABZ", ["a", "    ", "b", "1", "2", " ", "IMGIMGABZ"]),
        ("gemma4", "a b\n\nc", ["a b", "\n\n", "c"]),
        ("default", "a  1234+", ["a", " ", " ", "123", "4", "+"]),
    ],
)
def test_text_is_cut_as_the_model_was_trained(name: str, text: str, expected: list[str]) -> None:
    assert words(name, text) == expected


@pytest.mark.parametrize("name", ["tiny_aya", "superbpe", "gpt-4o", "llama-bpe", "smollm", "exaone-moe"])
@pytest.mark.parametrize("text", ["1" * 20_000, " " * 20_000 + "x", "aB" * 10_000, "e\u0301" * 10_000, "a b " * 5000])
def test_no_text_takes_quadratic_time(name: str, text: str) -> None:
    started = time.perf_counter()
    assert "".join(words(name, text)) == text
    assert time.perf_counter() - started < 5  # well under a second where nothing else runs


@pytest.mark.parametrize(
    ("name", "composes"), [("qwen2", True), ("command-r", True), ("qwen35", False), ("smollm", False)]
)
def test_text_is_normalised_where_the_models_own_tokenizer_does(
    name: str, composes: bool, bpe_metadata: Metadata
) -> None:
    tokenizer = Tokenizer.from_gguf({**bpe_metadata, "tokenizer.ggml.pre": name})
    assert (tokenizer.encode("cafe\u0301") == tokenizer.encode("caf\u00e9")) == composes


def test_a_file_without_a_pre_tokenizer_gets_the_default() -> None:
    assert pre_tokenizer(None) is PRE_TOKENIZERS["default"]


def test_an_unknown_pre_tokenizer_is_named_with_those_that_are_known(bpe_metadata: Metadata) -> None:
    with pytest.raises(UnsupportedModelError, match=r"'mystery'.*gpt-2.*qwen2"):
        Tokenizer.from_gguf({**bpe_metadata, "tokenizer.ggml.pre": "mystery"})


def test_an_unknown_tokenizer_is_named(bpe_metadata: Metadata) -> None:
    with pytest.raises(UnsupportedModelError, match="'rwkv'"):
        Tokenizer.from_gguf({**bpe_metadata, "tokenizer.ggml.model": "rwkv"})


def test_a_llama3_word_that_is_a_token_is_taken_whole(bpe_metadata: Metadata) -> None:
    tokens = [*bpe_metadata["tokenizer.ggml.tokens"], "Ġxyzzy"]
    metadata = {**bpe_metadata, "tokenizer.ggml.tokens": tokens}
    metadata["tokenizer.ggml.token_type"] = [*bpe_metadata["tokenizer.ggml.token_type"], 1]
    llama3 = Tokenizer.from_gguf({**metadata, "tokenizer.ggml.pre": "llama-bpe"})
    assert llama3.encode("a xyzzy", add_special=False)[1:] == [len(tokens) - 1]
    assert llama3.add_bos
    assert len(Tokenizer.from_gguf(metadata).encode("a xyzzy")) > 2
