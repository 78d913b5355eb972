"""WordPiece vocabularies, in GGUF, in tokenizer.json and in vocab.txt, and pairs of texts: against `tokenizers`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as Library
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors
from vocabularies import texts

from lutmac.errors import CheckpointError
from lutmac.text import Tokenizer
from lutmac.text.framing import PairFrame, pair_frame
from lutmac.text.huggingface import TextFiles

CONTROL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = [
    *CONTROL, *"abcdefghijklmnopqrstuvwxyz0123456789.,!'()[]", "the", "fox", "jump", "##ed", "##ing", "un", "##able",
    "e\u0301", "\u65e5", "\u672c", *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz0123456789"),
]  # fmt: skip


def library(*, lowercase: bool = True, strip_accents: bool | None = None) -> Library:
    found = Library(models.WordPiece({piece: id for id, piece in enumerate(PIECES)}, unk_token="[UNK]"))
    found.normalizer = normalizers.BertNormalizer(lowercase=lowercase, strip_accents=strip_accents)
    found.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    found.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    found.decoder = decoders.WordPiece()
    found.add_special_tokens(CONTROL)
    found.encode_special_tokens = True
    return found


def gguf_metadata(**different: Any) -> dict[str, Any]:
    """As llama.cpp's converter writes it: a piece that begins a word has \u2581, one that goes on has nothing."""

    def phantom(piece: str) -> str:
        return piece if piece in CONTROL else piece[2:] if piece.startswith("##") else "\u2581" + piece

    return {
        "tokenizer.ggml.model": "bert",
        "tokenizer.ggml.tokens": [phantom(piece) for piece in PIECES],
        "tokenizer.ggml.token_type": [3 if piece in CONTROL else 1 for piece in PIECES],
        "tokenizer.ggml.unknown_token_id": 1,
        "tokenizer.ggml.cls_token_id": 2,
        "tokenizer.ggml.seperator_token_id": 3,
        **{f"tokenizer.ggml.{key.replace('__', '.')}": value for key, value in different.items()},
    }


@pytest.mark.parametrize(("lowercase", "strip_accents"), [(True, None), (False, None), (True, False), (False, True)])
def test_gguf_has_the_librarys_ids(lowercase: bool, strip_accents: bool | None) -> None:
    metadata = gguf_metadata(normalizer__lowercase=lowercase)
    if strip_accents is not None:
        metadata["tokenizer.ggml.normalizer.strip_accents"] = strip_accents
    expected, found = library(lowercase=lowercase, strip_accents=strip_accents), Tokenizer.from_gguf(metadata)

    @given(text=texts | st.text("abcdefox sTHEjumping\u00e9.\u0301\u65e5\u0000\ufffd\u00ad", max_size=30))
    def same(text: str) -> None:
        assert found.encode(text) == expected.encode(text).ids

    same()


def test_a_word_is_told_from_a_piece_that_goes_on() -> None:
    tokenizer = Tokenizer.from_gguf(gguf_metadata())
    assert tokenizer.decode(tokenizer.encode("The fox jumps, unable")) == "the fox jumps , unable"
    assert tokenizer.encode("[CLS] fox [SEP]", parse_special=True) == tokenizer.encode("fox")
    assert tokenizer.encode("[SEP]", add_special=False) == library().encode("[SEP]", add_special_tokens=False).ids
    assert tokenizer.encode("fox" * 34) == [2, 1, 3]  # 102 characters, which is no word
    assert tokenizer.encode("\u4e2d") == [2, 1, 3]


def test_a_file_without_roles_has_those_of_bert() -> None:
    """101 and 102 around a text, 100 for what is unknown."""
    tokens = [f"[unused{id}]" for id in range(100)] + ["[UNK]", "[CLS]", "[SEP]", "\u2581fox"]
    types = [5] * 100 + [3] * 3 + [1]
    tokenizer = Tokenizer.from_gguf({
        "tokenizer.ggml.model": "bert", "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.add_bos_token": False, "tokenizer.ggml.add_sep_token": False,  # in vain, as in llama.cpp
    })  # fmt: skip
    assert tokenizer.encode("fox cat") == [101, 103, 100, 102]
    pair = tokenizer.encode_pair("fox", "fox")
    assert (pair.ids, pair.types) == ([101, 103, 102, 103, 102], [0, 0, 0, 1, 1])


def directory(path: Path, **settings: Any) -> Path:
    path.mkdir()
    library().save(str(path / "tokenizer.json"))
    (path / "vocab.txt").write_text("".join(f"{piece}\n" for piece in PIECES), encoding="utf-8")
    (path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer", **settings}))
    return path


@pytest.mark.parametrize("kept", ["tokenizer.json", "vocab.txt"])
def test_directories_have_the_librarys_ids(kept: str, tmp_path: Path) -> None:
    folder = directory(tmp_path / "model")
    (folder / ({"tokenizer.json", "vocab.txt"} - {kept}).pop()).unlink()
    expected, found = library(), TextFiles(folder, {}, {}).tokenizer(len(PIECES))

    @given(first=texts, second=texts)
    def same(first: str, second: str) -> None:
        assert found.encode(first) == expected.encode(first).ids
        pair, theirs = found.encode_pair(first, second), expected.encode(first, second)
        assert (pair.ids, pair.types) == (theirs.ids, theirs.type_ids)

    same()
    assert found.decode(found.encode("The fox jumps")) == "the fox jumps"


def test_vocab_txt_of_a_cased_model(tmp_path: Path) -> None:
    folder = directory(tmp_path / "model", do_lower_case=False)
    (folder / "tokenizer.json").unlink()
    found = TextFiles(folder, {}, {}).tokenizer(len(PIECES))
    assert found.encode("The the") == library(lowercase=False).encode("The the").ids
    (folder / "vocab.txt").write_text("a\nb\n")
    with pytest.raises(CheckpointError, match=r"vocab.txt has no \[UNK\]"):
        TextFiles(folder, {}, {}).tokenizer(len(PIECES))


POST_PROCESSORS = {
    "bert": processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2)),
    "roberta": processors.RobertaProcessing(("[SEP]", 3), ("[CLS]", 2)),
    "template": processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    ),
}


@pytest.mark.parametrize("kind", POST_PROCESSORS)
@given(first=st.integers(0, 12), second=st.integers(0, 12), most=st.integers(5, 20))
def test_pairs_are_framed_and_cut_as_the_library_does(kind: str, first: int, second: int, most: int) -> None:
    theirs = library()
    theirs.post_processor = POST_PROCESSORS[kind]
    theirs.enable_truncation(most, strategy="longest_first")
    expected = theirs.encode("a " * first, "b " * second)
    frame = pair_frame(json.loads(theirs.to_str())["post_processor"])
    assert frame is not None
    a, b = (PIECES.index(letter) for letter in "ab")
    found = frame.join([a] * first, [b] * second, most)
    assert (found.ids, found.types) == (expected.ids, expected.type_ids)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        # XLM-RoBERTa's, with two separators, also in files that are older than the key
        ({"add_bos_token": True, "add_eos_token": True, "add_sep_token": True}, PairFrame((0,), (2, 2), (2,))),
        ({"add_bos_token": True}, PairFrame((0,), (2, 2), (2,))),
        ({"add_bos_token": True, "add_sep_token": False}, PairFrame((0,), (2,), (2,))),
        ({}, PairFrame((), (2,), (2,))),  # T5's
    ],
)
def test_unigrams_of_gguf_say_by_flags_what_is_between_two_texts(flags: dict[str, bool], expected: PairFrame) -> None:
    metadata = {
        "tokenizer.ggml.model": "t5",
        "tokenizer.ggml.tokens": ["<s>", "<pad>", "</s>", "<unk>", "\u2581", "a"],
        "tokenizer.ggml.token_type": [3, 3, 3, 2, 1, 1],
        "tokenizer.ggml.scores": [0.0, 0.0, 0.0, 0.0, -1.0, -2.0],
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 3,
        **{f"tokenizer.ggml.{name}": value for name, value in flags.items()},
    }
    assert Tokenizer.from_gguf(metadata).pair == expected


@pytest.mark.parametrize(
    "template",
    [[{"SpecialToken": {"id": "[X]"}}, {"Sequence": {"id": "A"}}, {"Sequence": {"id": "B"}}], [7], [{"Sequence": 3}]],
)
def test_a_damaged_pair_is_one_clear_error(template: list[Any], tmp_path: Path) -> None:
    folder = directory(tmp_path / "model")
    document = json.loads((folder / "tokenizer.json").read_text())
    document["post_processor"] = {"type": "TemplateProcessing", "single": [], "pair": template, "special_tokens": {}}
    (folder / "tokenizer.json").write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match="the post-processor names"):
        TextFiles(folder, {}, {}).tokenizer(len(PIECES))
