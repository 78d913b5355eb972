"""Finding special tokens in text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lutmac.text.special import TokenMatcher

TOKENS = {"<a>": 0, "<ab>": 1, "ab": 2, "bcd": 3, "\n": 4, "\n\n": 5, "\n\n\n": 6, "é": 7}
soup = st.lists(st.sampled_from([*TOKENS, *"<>abcd\n é"])).map("".join)


def one_token_after_the_other(text: str) -> list[str | int]:
    """llama.cpp's way: each token in turn, longest first, is sought in what the ones before it left."""
    pieces: list[str | int] = [text]
    for token in sorted(TOKENS, key=lambda token: (-len(token.encode()), token)):
        found: list[str | int] = []
        for piece in pieces:
            rest = piece
            while isinstance(rest, str) and token in rest:
                before, _, rest = rest.partition(token)
                found += [before, TOKENS[token]]
            found.append(rest)
        pieces = found
    return [piece for piece in pieces if piece != ""]


@given(text=soup)
def test_tokens_are_found_as_llama_cpp_finds_them(text: str) -> None:
    assert TokenMatcher(TOKENS).split(text) == one_token_after_the_other(text)


def test_the_longer_token_wins_even_if_it_begins_later() -> None:
    assert TokenMatcher(TOKENS).split("abcd") == ["a", 3]


def test_a_text_without_tokens_stays_whole() -> None:
    assert TokenMatcher(TOKENS).split("hello") == ["hello"]
    assert TokenMatcher({}).split("<a>") == ["<a>"]
    assert TokenMatcher(TOKENS).split("") == []


def test_many_tokens_and_a_long_text_take_no_time() -> None:
    matcher = TokenMatcher({f"<unused{n}>": n for n in range(6000)} | {" " * n: n for n in range(2, 32)})
    assert len(matcher.split(" x<y" * 200_000 + "<unused7>")) == 2
