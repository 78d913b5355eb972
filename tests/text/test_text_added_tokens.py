"""Added tokens and their flags, against the library that defines them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Library

from lutmac.text import Tokenizer
from lutmac.text.huggingface import TextFiles

WORDS = {
    text: id for id, text in enumerate(["<unk>", "a", "b", "é", "<", ">", "▁", "_", "1", "\n", "|", "x", "ab", "▁a"])
}
MERGES = [["a", "b"], ["▁", "a"]]
CONTROL = ("<a>", "<ab>", "<x|>")
ORDINARY = ("abx", "bx", "|b", "_1", "é_")
FLAGS = ("lstrip", "rstrip", "single_word", "normalized")
flags = st.fixed_dictionaries({name: st.booleans() for name in FLAGS})
# A control token that is sought in the normalised text exists nowhere: the library normalises its name as well.
control = st.dictionaries(st.sampled_from(CONTROL), flags.map(lambda f: {**f, "special": True, "normalized": False}))
ordinary = st.dictionaries(st.sampled_from(ORDINARY), flags.map(lambda f: {**f, "special": False}))
soup = st.lists(st.sampled_from([*CONTROL, *ORDINARY, *WORDS, " ", "\t", "\u00a0", "\u3000"])).map("".join)
PREFIXES: dict[str, dict[str, Any]] = {
    "none": {"normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}},
    "normaliser": {
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": "▁"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            ],
        }
    },
    "first": {"pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}},
    "always": {"pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": False}},
}


def document(added: dict[str, dict[str, bool]], prefix: str = "none") -> str:
    model = {"type": "BPE", "vocab": WORDS, "merges": MERGES, "unk_token": "<unk>", "fuse_unk": False}
    tokens = [{"id": len(WORDS) + place, "content": text, **entry} for place, (text, entry) in enumerate(added.items())]
    return json.dumps({"version": "1.0", "added_tokens": tokens, "model": model, **PREFIXES[prefix]})


def read(folder: Path, added: dict[str, dict[str, bool]], prefix: str = "none") -> Tokenizer:
    (folder / "tokenizer.json").write_text(document(added, prefix))
    return TextFiles(folder, {}, {}).tokenizer(len(WORDS) + len(added))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("added")


@settings(deadline=None)  # a tokenizer is made for each
@given(control=control, ordinary=ordinary, prefix=st.sampled_from(sorted(PREFIXES)), text=soup)
def test_a_text_has_the_librarys_ids(
    control: dict[str, dict[str, bool]], ordinary: dict[str, dict[str, bool]], prefix: str, text: str, folder: Path
) -> None:
    added = {**control, **ordinary}
    tokenizer, library = read(folder, added, prefix), Library.from_str(document(added, prefix))
    assert tokenizer.encode(text, parse_special=True) == library.encode(text).ids
    library.encode_special_tokens = True
    assert tokenizer.encode(text) == library.encode(text).ids


@settings(deadline=None)  # a tokenizer is made for each
@given(control=control, ordinary=ordinary, prefix=st.sampled_from(sorted(PREFIXES)), texts=st.lists(soup, max_size=4))
def test_a_users_text_never_becomes_a_control_token(
    control: dict[str, dict[str, bool]],
    ordinary: dict[str, dict[str, bool]],
    prefix: str,
    texts: list[str],
    folder: Path,
) -> None:
    tokenizer = read(folder, {**control, **ordinary}, prefix)
    segments = [(text, place % 2 == 1) for place, text in enumerate(texts)]
    written = [
        id for text in texts[1::2] for id in tokenizer.encode(text, parse_special=True) if tokenizer.is_special(id)
    ]
    assert [id for id in tokenizer.encode_segments(segments) if tokenizer.is_special(id)] == written


def test_a_control_token_takes_the_space_of_the_text_beside_it(folder: Path) -> None:
    """As in Phi-3's chats: transformers strips what a message begins with."""
    tokenizer = read(folder, {"<a>": {"special": True, "rstrip": True}, "<x|>": {"special": True, "lstrip": True}})
    first, last = tokenizer.token_id("<a>"), tokenizer.token_id("<x|>")
    assert tokenizer.encode_segments([("<a>\n", True), (" \n ab ", False), ("<x|>", True)]) == [
        first,
        WORDS["ab"],
        last,
    ]


def test_a_name_that_the_model_could_make_stays_text(folder: Path) -> None:
    """The model has the control token as an ordinary one too, and merges or whole words that make it."""
    words = {**WORDS, "<a": 14, "<a>": 15}
    merges = [*MERGES, ["<", "a"], ["<a", ">"]]
    for extra in ({}, {"ignore_merges": True}):
        model = {"type": "BPE", "vocab": words, "merges": merges, "unk_token": "<unk>", **extra}
        entries = [{"id": 15, "content": "<a>", "special": True}, {"id": 0, "content": "<unk>", "special": True}]
        (folder / "tokenizer.json").write_text(json.dumps({"model": model, "added_tokens": entries}))
        tokenizer = TextFiles(folder, {}, {}).tokenizer(16)
        assert tokenizer.encode("<a>") == [14, 5]
        assert tokenizer.encode("<a>", parse_special=True) == [15]
        assert 0 not in tokenizer.encode("<unk>")[:1]


def test_an_added_token_beyond_the_model_is_text(folder: Path) -> None:
    (folder / "tokenizer.json").write_text(document({"<a>": {"special": True}, "abx": {}, "bx": {}}))
    tokenizer = TextFiles(folder, {}, {}).tokenizer(len(WORDS) + 2)
    assert tokenizer.encode("abx bx", parse_special=True) == [15, WORDS["▁"], WORDS["b"], WORDS["x"]]
