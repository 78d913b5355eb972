"""Tokenizers and chat templates of Hugging Face directories, against the libraries that made the files."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Tokenizer as Library
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from lutmac.errors import CheckpointError, LutmacError
from lutmac.text import ChatTemplate, Tokenizer, encode_chat
from lutmac.text.huggingface import TextFiles

TEXTS = [
    "the quick brown fox",
    "  two spaces\n\nand lines ",
    "naïve Ünïcödé 🦊",
    "",
    "a",
    "<s>[INST] </s> <|im_end|>",
    " x",
]
SENTENCE = "the quick brown fox jumps over the lazy dog while the other dogs look on\n"


def read(directory: Path, size: int, config: dict[str, Any] | None = None) -> Tokenizer:
    return TextFiles(directory, config or {}, {}).tokenizer(size)


def byte_level() -> Library:
    tokenizer = Library(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator([SENTENCE * 9], trainers.BpeTrainer(vocab_size=290, initial_alphabet=alphabet))
    return tokenizer


def llama_like(kind: str) -> Library:
    """Spaces as ▁, bytes as fallback; the prefix from a normaliser (Llama 2's first files) or from Metaspace."""
    tokenizer = Library(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokenizer.train_from_iterator([SENTENCE * 9], trainers.BpeTrainer(vocab_size=330, special_tokens=special))
    document = json.loads(tokenizer.to_str())
    document["added_tokens"] = document["added_tokens"][:3]
    tokenizer = Library.from_str(json.dumps(document))
    if kind == "normaliser":
        replaced = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Sequence(replaced), None
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=kind, split=False)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("kind", ["byte level", "normaliser", "first", "always", "never"])
def test_plain_text_is_encoded_as_the_library_does(kind: str, text: str, tmp_path: Path) -> None:
    library = byte_level() if kind == "byte level" else llama_like(kind)
    library.save(str(tmp_path / "tokenizer.json"))
    size = library.get_vocab_size()
    ours = read(tmp_path, size, {"eos_token_id": 2})
    theirs = Library.from_str(json.dumps({**json.loads(library.to_str()), "added_tokens": []}))
    if text or kind != "normaliser":
        assert ours.encode(text, add_special=False) == theirs.encode(text, add_special_tokens=False).ids
    assert ours.decode(ours.encode(text)) == (text.removeprefix(" ") if kind in ("first", "always") else text)
    assert ours.add_bos == (kind != "byte level")


def test_control_tokens_count_in_templates_and_never_in_a_users_text(tmp_path: Path) -> None:
    library = byte_level()
    library.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    library.save(str(tmp_path / "tokenizer.json"))
    start, end = library.token_to_id("<|im_start|>"), library.token_to_id("<|im_end|>")
    tokenizer = read(tmp_path, library.get_vocab_size() + 3, {"eos_token_id": [end, 10**9]})
    assert tokenizer.encode("<|im_start|>a", parse_special=True) == [start, *tokenizer.encode("a")]
    assert start not in tokenizer.encode("<|im_start|>")
    assert (tokenizer.eos_id, tokenizer.end_of_generation) == (end, {end})
    assert tokenizer.decode([library.get_vocab_size() + 2]) == ""  # an id of the model that no token has
    ids = encode_chat(tokenizer, ChatTemplate.of_checkpoint({}, tokenizer), [{"role": "user", "content": "<|im_end|>"}])
    assert ids.count(end) == 1


def test_a_sentencepiece_model_is_encoded_as_the_library_does(tmp_path: Path) -> None:
    (tmp_path / "text").write_text(SENTENCE * 9)
    sentencepiece.SentencePieceTrainer.Train(
        input=str(tmp_path / "text"), model_prefix=str(tmp_path / "tokenizer"), vocab_size=320, model_type="bpe",
        byte_fallback=True, hard_vocab_limit=False, normalization_rule_name="identity", remove_extra_whitespaces=False,
        minloglevel=2,
    )  # fmt: skip
    settings = {
        "bos_token": "<s>",
        "eos_token": {"content": "</s>"},
        "added_tokens_decoder": {"325": {"content": "<x>"}},
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    library = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    tokenizer = read(tmp_path, 328)
    for text in filter(None, TEXTS):
        assert tokenizer.encode(text) == [1, *library.EncodeAsIds(text)]
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.token_id("<x>")) == (1, 2, 325)
    assert 325 in tokenizer.encode("a <x> b")


def test_spaces_in_added_tokens_are_decoded_as_the_library_does(tmp_path: Path) -> None:
    """As in Gemma's directories, whose runs of spaces are added tokens of ▁, and `</s>` is an ordinary one."""
    library = llama_like("never")
    library.normalizer, library.pre_tokenizer = normalizers.Replace(" ", "▁"), None
    library.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    library.add_tokens(["▁▁", "▁▁▁▁", "\n\n", "</i>"])
    library.save(str(tmp_path / "tokenizer.json"))
    tokenizer = read(tmp_path, library.get_vocab_size())
    for text in ("the\n    fox", "a  </i>\n\n b", "  ", "▁▁"):
        ids = library.encode(text, add_special_tokens=False).ids
        assert tokenizer.encode(text, add_special=False) == ids
        assert tokenizer.decode(ids) == library.decode(ids) == text.replace("▁", " ")


@pytest.mark.parametrize("adds_bos", [True, False])
def test_a_chat_of_a_directory_has_the_bos_that_its_template_writes(adds_bos: bool, tmp_path: Path) -> None:
    """As transformers' apply_chat_template, whatever a text of its own gets."""
    library = llama_like("first")
    library.save(str(tmp_path / "tokenizer.json"))
    settings = {"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": adds_bos, "tokenizer_class": "LlamaTokenizer"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer, messages = read(tmp_path, library.get_vocab_size()), [{"role": "user", "content": "fox"}]
    assert tokenizer.encode("fox")[0] == (1 if adds_bos else library.encode("fox", add_special_tokens=False).ids[0])
    for bos in ("<s>", ""):
        template = ChatTemplate.of_checkpoint({"default": bos + "the {{ messages[0].content }}"}, tokenizer)
        ids = library.encode(bos + "the fox", add_special_tokens=False).ids
        assert encode_chat(tokenizer, template, messages) == ids


@pytest.mark.parametrize(
    ("processor", "ids"),
    [
        (
            processors.TemplateProcessing("<s> $A </s> <unk>", None, [("<s>", 1), ("</s>", 2), ("<unk>", 0)]),
            [1, 5, 2, 0],
        ),
        (processors.RobertaProcessing(("</s>", 2), ("<s>", 1), add_prefix_space=False), [1, 5, 2]),
        (processors.BertProcessing(("</s>", 2), ("<s>", 1)), [1, 5, 2]),
    ],
)
def test_what_goes_around_a_text(processor: processors.PostProcessor, ids: list[int], tmp_path: Path) -> None:
    library = llama_like("never")
    library.post_processor = processor
    library.save(str(tmp_path / "tokenizer.json"))
    tokenizer = read(tmp_path, library.get_vocab_size())
    assert library.encode("\x02").ids == tokenizer.encode("\x02") == ids


def test_tokens_of_the_configuration_are_added(tmp_path: Path) -> None:
    """InternLM2's tokenizer.json has none: transformers takes them from the configuration."""
    library = llama_like("never")
    document = {**json.loads(library.to_str()), "added_tokens": []}
    (tmp_path / "tokenizer.json").write_text(json.dumps(document))
    entries = {"1": {"content": "<s>", "special": True}, "300": {"content": "<x>", "special": False}}
    settings = {"eos_token": "</s>", "added_tokens_decoder": entries}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer = read(tmp_path, library.get_vocab_size())
    assert tokenizer.encode("<s></s>", parse_special=True, add_special=False) == [1, 2]
    assert tokenizer.end_of_generation == {2}


def test_marks_for_filling_in_the_middle_need_not_be_special(tmp_path: Path) -> None:
    """As in Qwen2.5-Coder's directories."""
    library = byte_level()
    library.add_tokens(["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"])
    library.save(str(tmp_path / "tokenizer.json"))
    tokenizer = read(tmp_path, library.get_vocab_size())
    ids = library.encode("<|fim_prefix|>the fox<|fim_suffix|> the dog<|fim_middle|>").ids
    assert tokenizer.encode_fill("the fox", " the dog") == ids


def test_an_end_text_that_a_merge_makes_is_ordinary(tmp_path: Path) -> None:
    """As in Qwen's directories."""
    document = json.loads(byte_level().to_str())
    document["pre_tokenizer"]["use_regex"] = False
    vocabulary = document["model"]["vocab"]
    for text in ("</", "</s", "</s>"):
        vocabulary[text] = len(vocabulary)
    document["model"]["merges"] += [["<", "/"], ["</", "s"], ["</s", ">"], ["o", "</s>"]]  # the last makes no token
    document["added_tokens"] = [{"id": len(vocabulary), "content": "<|im_end|>", "special": True}]
    (tmp_path / "tokenizer.json").write_text(json.dumps(document))
    tokenizer = read(tmp_path, 300)
    tag, end = tokenizer.token_id("</s>"), tokenizer.token_id("<|im_end|>")
    assert tag is not None
    assert tokenizer.encode("</s>") == [tag]
    assert tokenizer.decode([tag]) == "</s>"
    assert tokenizer.end_of_generation == {end}


@pytest.mark.parametrize(
    ("files", "sources"),
    [
        ({}, {}),
        ({"tokenizer_config.json": '{"chat_template": "A"}'}, {"default": "A"}),
        ({"tokenizer_config.json": '{"chat_template": [{"name": "tool_use", "template": "T"}, {"name": "default", '
          '"template": "B"}]}'}, {"tool_use": "T", "default": "B"}),
        ({"chat_template.jinja": "C", "tokenizer_config.json": '{"chat_template": "A"}'}, {"default": "C"}),
        ({"chat_template.json": '{"chat_template": "D"}'}, {"default": "D"}),
        ({"additional_chat_templates/rag.jinja": "E"}, {"rag": "E"}),
        ({"additional_chat_templates/tool_use.jinja": "E", "chat_template.jinja": "F"},
         {"default": "F", "tool_use": "E"}),
    ],
)  # fmt: skip
def test_chat_templates_in_all_their_places(files: dict[str, str], sources: dict[str, str], tmp_path: Path) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert TextFiles(tmp_path, {}, {}).chat_templates() == sources


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "model None is not supported"),
        ({"model": {"type": "WordLevel", "vocab": {"a": 0}}}, "model 'WordLevel' is not supported; supported: BPE"),
        ({"model": {"type": "WordPiece", "vocab": {"a": 0}}}, r"tokenizer\.json cannot be used"),
        ({"model": {"type": "BPE", "vocab": {}, "merges": []}}, "no vocabulary"),
        ({"model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}}, "no number from 0 on"),
        (
            {"model": {"type": "BPE", "vocab": {"a": 9**9}, "merges": []}},
            "a token 387420489, the model's vocabulary ends",
        ),
        ({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["a", "b"]]}}, r"tokenizer\.json cannot be used"),
        ({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["a"]]}}, r"merge 0 is \['a'\], not two tokens"),
        ({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "added_tokens": [{}]}, "has no id or no content"),
    ],
)
def test_malformed_tokenizers_are_named(document: dict[str, Any], message: str, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps(document))
    with pytest.raises(LutmacError, match=message):
        read(tmp_path, 100)


@pytest.mark.parametrize(
    ("charsmap", "message"),
    [
        ("", "cannot be read"),
        ("YWJj", "cannot be read"),
        ("!", "cannot be read"),
        (base64.b64encode(b"\4\0\0\0abcdef").decode(), "leads outside"),
        (base64.b64encode(b"\xff" * 40).decode(), "cannot be read"),
    ],
)
def test_a_broken_map_of_characters_is_named(charsmap: str, message: str, tmp_path: Path) -> None:
    """`tokenizers` panics at these."""
    model = {"type": "Unigram", "vocab": [["<unk>", 0.0], ["a", -1.0]], "unk_id": 0}
    document = {"model": model, "normalizer": {"type": "Precompiled", "precompiled_charsmap": charsmap}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match=message):
        read(tmp_path, 2)


def test_unigrams_with_a_map_of_characters_are_those_of_the_original(tmp_path: Path) -> None:
    """As XLM-RoBERTa and T5 have them."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([SENTENCE, "naïve ﬁ ① Å e\u0301"] * 9), model_writer=model, model_type="unigram",
        vocab_size=80, hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    original = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    proto = sentencepiece_model_pb2.ModelProto.FromString(model.getvalue())
    document = {
        "model": {"type": "Unigram", "vocab": [[p.piece, p.score] for p in proto.pieces], "unk_id": 0},
        "added_tokens": [{"id": id, "content": text, "special": True} for id, text in ((0, "<unk>"), (2, "</s>"))],
        "normalizer": {
            "type": "Precompiled",
            "precompiled_charsmap": base64.b64encode(proto.normalizer_spec.precompiled_charsmap).decode(),
        },
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"},
        "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"},
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(document))
    tokenizer = read(tmp_path, len(proto.pieces))
    for text in ("the quick brown fox", "na\u0131\u0308ve ﬁ ① \u212b é", "</s> fox"):
        assert tokenizer.encode(text) == original.encode(text)
    assert tokenizer.decode(tokenizer.encode("the ﬁ fox")) == "the fi fox"
    assert tokenizer.encode("</s>", parse_special=True) == [2]


@pytest.mark.parametrize("affix", [{"continuing_subword_prefix": "##"}, {"end_of_word_suffix": "</w>"}])
def test_affixes_of_words_are_the_librarys(affix: dict[str, str], tmp_path: Path) -> None:
    vocabulary = ["a", "b", "##a", "##b", "ab", "ab##", "a</w>", "b</w>", "ab</w>"]
    merges = [["a", "##b"], ["a", "b</w>"]] if "continuing_subword_prefix" in affix else [["a", "b</w>"], ["a", "b"]]
    model = {"type": "BPE", "vocab": {text: id for id, text in enumerate(vocabulary)}, "merges": merges, **affix}
    usable = {**model, "merges": merges[:1] if "continuing_subword_prefix" in affix else merges}
    pre_tokenizer = {"type": "Whitespace"}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": model, "pre_tokenizer": pre_tokenizer}))
    library = Library.from_str(json.dumps({"version": "1.0", "model": usable, "pre_tokenizer": pre_tokenizer}))
    tokenizer = read(tmp_path, len(vocabulary))
    for text in ("ab", "ba ab", "aab b"):
        assert tokenizer.encode(text) == library.encode(text).ids


def test_a_tokenizer_model_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(b"\xff" * 100)
    with pytest.raises(CheckpointError, match="no SentencePiece model"):
        read(tmp_path, 100)
