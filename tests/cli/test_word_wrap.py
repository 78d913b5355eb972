"""Text on a terminal: words stay whole, and nothing is lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lutmac.cli.word_wrap import WordWrap, character_width

TEXTS = st.text(st.sampled_from("ab cd\té\u6f22\u5b57\n`e\u0301"), max_size=80)


def wrapped(text: str, width: int, *, pieces: int = 1) -> str:
    wrap = WordWrap(lambda: width)
    return "".join(wrap.push(text[place : place + pieces]) for place in range(0, len(text), pieces)) + wrap.flush()


@given(TEXTS, st.integers(2, 20), st.integers(1, 9))
def test_no_character_is_lost_wherever_the_text_is_cut(text, width, pieces):
    found = wrapped(text, width, pieces=pieces)
    assert found == wrapped(text, width)
    assert "".join(found.split()) == "".join(text.split())


@given(st.text(st.sampled_from("ab cd\u6f22\n"), max_size=80), st.integers(6, 20))
def test_lines_fit_where_their_words_do(text, width):
    words = text.split()
    if all(sum(map(character_width, word)) <= width for word in words):
        lines = wrapped(text, width).split("\n")
        assert all(sum(map(character_width, line.strip())) <= width for line in lines)


def test_lines_break_between_words():
    assert wrapped("one two three four", 9) == "one two\nthree\nfour"
    assert wrapped("  - one two", 9) == "  - one\ntwo"
    assert wrapped("\u6f22\u5b57\u6f22\u5b57", 4) == "\u6f22\u5b57\n\u6f22\u5b57"


def test_code_stays_as_it_is():
    code = "```python\nfor index in range(10): print(index)\n```\n"
    assert wrapped(code + "one two three", 9) == code + "one two\nthree"


def test_a_reply_cannot_steer_the_terminal():
    assert wrapped("a\x1b[2Jb\x07", 80) == "a\ufffd[2Jb\ufffd"
