"""What a user can rely on when text becomes token ids and token ids become text."""

from __future__ import annotations

import array
import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from tokenizers import Tokenizer as HuggingFaceTokenizer
from tokenizers.models import BPE
from vocabularies import CONTROL, USER_DEFINED, Metadata, any_text, merged_tag_metadata, prose, texts

from lutmac.errors import CheckpointError, InvalidRequestError
from lutmac.text import Tokenizer
from lutmac.text.bpe import failures_of_tokenizers
from lutmac.text.fill import FillMarks

GOLDENS = json.loads((Path(__file__).parent / "data" / "smollm2_ids.json").read_text())
WIKITEXT = Path(__file__).parents[3] / "shared" / "data" / "wikitext-2" / "test.txt"


@pytest.mark.parametrize("golden", GOLDENS["texts"], ids=lambda golden: golden["name"])
def test_smollm2_ids_are_llama_cpps(smollm2: Tokenizer, golden: dict[str, object]) -> None:
    text = str(golden["text"])
    assert smollm2.encode(text) == golden["ids"]
    assert smollm2.encode(text, parse_special=True) == golden["special_ids"]


def test_a_whole_corpus_has_llama_cpps_ids_and_decodes_to_itself(smollm2: Tokenizer) -> None:
    if not WIKITEXT.exists():
        pytest.skip(f"no corpus at {WIKITEXT}")
    text = WIKITEXT.read_bytes().decode()
    ids = smollm2.encode(text)
    expected = GOLDENS["wikitext2_test"]
    assert len(ids) == expected["count"]
    assert hashlib.sha256(array.array("i", ids).tobytes()).hexdigest() == expected["sha256"]
    assert smollm2.decode(ids) == text


def test_smollm2_knows_its_special_tokens(smollm2: Tokenizer) -> None:
    assert smollm2.vocab_size == 49152
    assert (smollm2.bos_id, smollm2.eos_id, smollm2.add_bos, smollm2.add_eos) == (1, 2, False, False)
    assert {0, 2} <= smollm2.end_of_generation  # <|endoftext|>, <|im_end|>
    assert smollm2.is_special(2)
    assert not smollm2.is_special(smollm2.encode("the")[0])


@given(text=texts)
def test_what_is_encoded_decodes_to_the_same_text(bpe: Tokenizer, text: str) -> None:
    assert bpe.decode(bpe.encode(text, add_special=False)) == text


@given(text=prose)
def test_special_tokens_decode_to_their_names_when_asked_for(bpe: Tokenizer, text: str) -> None:
    ids = bpe.encode(text, parse_special=True, add_special=False)
    assert bpe.decode(ids, skip_special=False) == text
    for name in CONTROL:
        text = text.replace(name, "")
    assert bpe.decode(ids) == text


@given(text=any_text)
def test_ordinary_text_has_the_ids_of_the_tokenizer_the_file_was_made_from(
    bpe: Tokenizer, trained_bpe: HuggingFaceTokenizer, text: str
) -> None:
    if not any(token in text for token in USER_DEFINED):
        assert bpe.encode(text, add_special=False) == trained_bpe.encode(text).ids


@given(text=texts)
def test_a_users_text_never_becomes_a_control_token(bpe: Tokenizer, text: str) -> None:
    assert not any(map(bpe.is_special, bpe.encode(text, add_special=False)))


def test_control_tokens_are_recognised_where_they_are_allowed(bpe: Tokenizer) -> None:
    start, end = bpe.token_id("<|im_start|>"), bpe.token_id("<|im_end|>")
    assert bpe.encode("<|im_start|>fox<|im_end|>", parse_special=True) == [start, *bpe.encode("fox"), end]


def test_user_defined_tokens_are_recognised_everywhere(bpe: Tokenizer) -> None:
    think, fox = bpe.token_id("<think>"), bpe.encode("fox")
    assert bpe.encode("<think>fox") == [think, *fox]
    assert bpe.encode("<think>fox", parse_special=True) == [think, *fox]


@given(left=texts, right=texts)
def test_cutting_a_text_into_segments_changes_nothing(bpe: Tokenizer, left: str, right: str) -> None:
    assert bpe.encode_segments([(left, False), (right, False)]) == bpe.encode(left + right)


def test_segments_say_which_control_tokens_count(bpe: Tokenizer) -> None:
    end = bpe.token_id("<|im_end|>")
    ids = bpe.encode_segments([("fox", True), ("<|im_end|>", False), ("<|im_end|>", True)])
    assert ids == [*bpe.encode("fox<|im_end|>"), end]


def test_bos_and_eos_come_where_the_file_asks_for_them(bpe_metadata: Metadata) -> None:
    both = {"tokenizer.ggml.add_bos_token": True, "tokenizer.ggml.add_eos_token": True}
    tokenizer = Tokenizer.from_gguf({**bpe_metadata, **both})
    ids = tokenizer.encode("fox")
    assert (ids[0], ids[-1]) == (tokenizer.bos_id, tokenizer.eos_id)
    assert ids[1:-1] == tokenizer.encode("fox", add_special=False)
    assert tokenizer.decode(ids) == "fox"
    assert tokenizer.encode("") == [tokenizer.bos_id, tokenizer.eos_id]


def test_bos_is_not_put_before_a_prompt_that_begins_with_it(bpe_metadata: Metadata) -> None:
    tokenizer = Tokenizer.from_gguf({**bpe_metadata, "tokenizer.ggml.add_bos_token": True})
    bos, fox = tokenizer.bos_id, tokenizer.encode("fox", add_special=False)
    assert tokenizer.encode("<s>fox", parse_special=True) == [bos, *fox]
    assert tokenizer.encode("<s><s>fox", parse_special=True) == [bos, bos, *fox]
    assert tokenizer.encode("<s>fox").count(bos) == 1  # a user's text, which is no BOS


FILL = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")


def with_tokens(metadata: Metadata, texts: tuple[str, ...], type: int = 3) -> dict[str, object]:
    tokens, types = metadata["tokenizer.ggml.tokens"], metadata["tokenizer.ggml.token_type"]
    added = {"tokenizer.ggml.tokens": [*tokens, *texts], "tokenizer.ggml.token_type": [*types, *[type] * len(texts)]}
    return {**metadata, **added}


@pytest.mark.parametrize("type", [3, 4], ids=["control", "user-defined"])
def test_a_prompt_to_fill_in_the_middle(bpe_metadata: Metadata, type: int) -> None:
    marked = with_tokens(bpe_metadata, FILL, type)
    tokenizer = Tokenizer.from_gguf({**marked, "tokenizer.ggml.add_bos_token": True})
    pre, suf, mid = map(tokenizer.token_id, FILL)
    front, behind = tokenizer.encode("fox", add_special=False), tokenizer.encode(" the dog<s>", add_special=False)
    assert tokenizer.encode_fill("fox", " the dog<s>") == [tokenizer.bos_id, pre, *front, suf, *behind, mid]


def test_the_files_own_keys_name_the_marks(bpe_metadata: Metadata) -> None:
    named = {"fim_pre_token_id": 3, "suffix_token_id": 4, "fim_mid_token_id": 5, "fim_pad_token_id": 6}
    keys = {f"tokenizer.ggml.{key}": id for key, id in named.items()}
    tokenizer = Tokenizer.from_gguf({**with_tokens(bpe_metadata, (*FILL, "<|file_sep|>")), **keys})
    separator = tokenizer.token_id("<|file_sep|>")
    assert tokenizer.vocabulary.fill_marks == FillMarks(3, 4, 5, pad=6, separator=separator)
    assert {6, separator} <= tokenizer.end_of_generation


def test_a_vocabulary_without_marks_fills_nothing(bpe_metadata: Metadata) -> None:
    ordinary = with_tokens(bpe_metadata, FILL, 1)
    for metadata in (bpe_metadata, ordinary):
        with pytest.raises(InvalidRequestError, match="cannot fill in the middle"):
            Tokenizer.from_gguf(metadata).encode_fill("a", "b")


def test_no_space_is_put_before_what_follows_the_middle(spm_metadata: Metadata) -> None:
    tokenizer = Tokenizer.from_gguf(
        with_tokens(spm_metadata, FILL) | {"tokenizer.ggml.scores": [*spm_metadata["tokenizer.ggml.scores"], 0, 0, 0]}
    )
    ids = tokenizer.encode_fill("the fox", "the dog")
    suffix = ids[ids.index(tokenizer.token_id(FILL[1])) + 1 : -1]
    assert b"".join(map(tokenizer.token_bytes, suffix)) == b"the dog"


def test_a_token_knows_its_bytes(bpe: Tokenizer) -> None:
    ids = bpe.encode("日🦊", add_special=False)
    assert b"".join(map(bpe.token_bytes, ids)) == "日🦊".encode()


def test_surrogates_are_no_text(bpe: Tokenizer) -> None:
    assert bpe.decode(bpe.encode("a\ud800b")) == "a\ufffdb"
    assert bpe.decode(bpe.encode("\ud83e\udd8a")) == "🦊"


def test_bytes_that_are_no_utf8_decode_to_replacement_characters(bpe: Tokenizer) -> None:
    first = bpe.encode("🦊", add_special=False)[0]
    assert bpe.decode([first, *bpe.encode("x", add_special=False)]) == "\ufffdx"


@pytest.mark.parametrize("id", [-1, 10_000_000])
def test_an_id_outside_the_vocabulary_is_refused(bpe: Tokenizer, id: int) -> None:
    with pytest.raises(InvalidRequestError, match=str(id)):
        bpe.decode([id])


def test_bytes_missing_from_the_vocabulary_do_not_let_their_neighbours_merge(bpe_metadata: Metadata) -> None:
    tokens = [token if token != "Ā" else "<never>" for token in bpe_metadata["tokenizer.ggml.tokens"]]  # byte 0
    tokenizer = Tokenizer.from_gguf({**bpe_metadata, "tokenizer.ggml.tokens": tokens})
    assert tokenizer.decode(tokenizer.encode("th\0e")) == "the"
    assert len(tokenizer.encode("th\0e")) > len(tokenizer.encode("the"))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"tokenizer.ggml.tokens": []}, "tokens"),
        ({"tokenizer.ggml.tokens": None}, "tokens"),
        ({"tokenizer.ggml.tokens": [1, 2, 3]}, "tokens"),
        ({"tokenizer.ggml.merges": None}, "merges"),
        ({"tokenizer.ggml.merges": ["ab"]}, "merges"),
        ({"tokenizer.ggml.merges": ["qqq zzz"]}, "merges"),
        ({"tokenizer.ggml.token_type": [1, 1]}, "token_type"),
        ({"tokenizer.ggml.token_type": "x"}, "token_type"),
        ({"tokenizer.ggml.eos_token_id": "x"}, "eos_token_id"),
    ],
)
def test_a_damaged_vocabulary_is_one_clear_error(bpe_metadata: Metadata, change: dict[str, object], named: str) -> None:
    with pytest.raises(CheckpointError, match=named) as caught:
        Tokenizer.from_gguf({**bpe_metadata, **change})
    assert "\n" not in str(caught.value)


def test_role_ids_outside_the_vocabulary_name_no_token(bpe_metadata: Metadata) -> None:
    tokenizer = Tokenizer.from_gguf({**bpe_metadata, "tokenizer.ggml.bos_token_id": 1 << 30})
    assert tokenizer.bos_id is None


def test_tokens_that_end_a_reply_are_known_by_key_and_by_name(bpe_metadata: Metadata) -> None:
    first = {**bpe_metadata, "tokenizer.ggml.eos_token_id": 7, "tokenizer.ggml.eot_token_id": 8}
    tokenizer = Tokenizer.from_gguf(first)
    assert tokenizer.end_of_generation == {7, 8, tokenizer.token_id("<|im_end|>")}


def test_text_that_looks_like_an_end_is_text_where_the_file_says_so(bpe_metadata: Metadata) -> None:
    all_normal = [1] * len(bpe_metadata["tokenizer.ggml.tokens"])
    no_ends = {**bpe_metadata, "tokenizer.ggml.token_type": all_normal, "tokenizer.ggml.eos_token_id": 7}
    tokenizer = Tokenizer.from_gguf(no_ends)
    end = tokenizer.token_id("<|im_end|>")
    assert end is not None
    assert not tokenizer.is_special(end)
    assert tokenizer.end_of_generation == {7}


def test_a_file_without_types_has_its_control_tokens_told_by_role_and_text(bpe_metadata: Metadata) -> None:
    untyped = {key: value for key, value in bpe_metadata.items() if key != "tokenizer.ggml.token_type"}
    tokenizer = Tokenizer.from_gguf({**untyped, "tokenizer.ggml.merges": [*untyped["tokenizer.ggml.merges"], "< s>"]})
    special = {tokenizer.token_text(id) for id in range(tokenizer.vocab_size) if tokenizer.is_special(id)}
    assert special == {"<|im_end|>", "<s>"}  # the second is BOS


@pytest.mark.parametrize("extra", [("ordinary",), ()], ids=["case 01", "case 02: longer than every other token"])
def test_an_end_text_that_a_merge_makes_is_ordinary(extra: tuple[str, ...]) -> None:
    tokenizer = Tokenizer.from_gguf(merged_tag_metadata(*extra))
    tag = tokenizer.token_id("</s>")
    assert tag == 258
    assert tokenizer.decode([tag]) == "</s>"
    assert tag not in tokenizer.end_of_generation
    assert tokenizer.encode("</s>") == [256, 115, 62]  # the pre-tokenizer cuts it before merges see it
    assert tokenizer.add_bos is False


@pytest.mark.parametrize(
    "merge",
    ["o r", "f o", "< /s>", "</s ></s></s></s></s>"],
    ids=["no product", "no product, first of a chain", "a part that is no token", "longer than any token"],
)
def test_merges_that_make_no_token_are_left_out(merge: str) -> None:
    metadata = merged_tag_metadata()
    with_it = {**metadata, "tokenizer.ggml.merges": [merge, *metadata["tokenizer.ggml.merges"]]}
    text = "for </s> ordinary </ s"
    assert Tokenizer.from_gguf(with_it).encode(text) == Tokenizer.from_gguf(metadata).encode(text)


def test_a_panic_of_the_library_is_one_clear_error() -> None:
    with pytest.raises(CheckpointError, match="merges: ") as caught, failures_of_tokenizers("merges"):
        BPE({"a": 0, "b": 1}, [("a", "b")])  # makes a token longer than every other one
    assert "\n" not in str(caught.value)


def test_harmonys_end_of_message_does_not_end_the_reply(bpe_metadata: Metadata) -> None:
    tokens = [*bpe_metadata["tokenizer.ggml.tokens"], "<|end|>", "<|return|>", "<|call|>"]
    types = [*bpe_metadata["tokenizer.ggml.token_type"], 3, 3, 3]
    changed = {**bpe_metadata, "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": types}
    tokenizer = Tokenizer.from_gguf(changed)
    ends = {tokenizer.token_text(id) for id in tokenizer.end_of_generation}
    assert ends == {"<|im_end|>", "<|return|>", "<|call|>"}
    assert tokenizer.is_special(tokenizer.vocab_size - 3)  # no user's text becomes it
