"""The tokenizer of a Hugging Face directory as GGUF metadata: byte-level BPE, and SentencePiece.

Keys: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The name of a pre-tokenizer stands in no file of such a
directory: it is the one that cuts a text of many kinds of characters as the directory's own does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lutmac.errors import UnsupportedModelError
from lutmac.text.huggingface import SENTENCEPIECE_MODEL, TOKENIZER_JSON, TextFiles
from lutmac.text.pretokenizers import PRE_TOKENIZERS
from lutmac.text.template_names import gguf_key
from lutmac.text.tokenizer import Tokenizer
from lutmac.text.vocabulary import TokenType

if TYPE_CHECKING:
    from lutmac.text.tokenizer_json import TokenizerJson, Unigrams

PREFIX: Final = "tokenizer.ggml."
_OF_ENCODERS: Final = ("bert", "t5")
USUAL: Final = ("llama-bpe", "qwen2", "smollm", "gpt-2", "tekken", "gpt-4o", "deepseek-v3")  # looked at first
PROBE: Final = (
    "Hello  World's 3.14159 1234567 it's IT'S we'll\n\n\tdef f(x):\r\n   return x**2 + camelCase  # !?\n HTTPServer_2"
    " \n \u2026\u201cna\u00efve\u201d \u65e5\u672c\u8a9e\u3072\u3089\u304c\u306a \u0627\u0644\u0639\u0631\u0628"
    "\u064a\u0629 \ud55c\uad6d\uc5b4 \u0440\u0443\u0441\u0441\u043a\u0438\u0439 \u0663\u0664 \U0001f600\U0001f680"
    " x=[1,2];\u00a0$9.99 a/b\\c ...   end  \n\n  "
)


def gguf_tokenizer(files: TextFiles, tokenizer: Tokenizer) -> dict[str, Any]:
    """Metadata from which Tokenizer.from_gguf makes the same tokenizer; tokenizer: the directory's.

    Raises UnsupportedModelError where GGUF cannot describe it.
    """
    vocabulary = tokenizer.vocabulary
    common: dict[str, Any] = {
        f"{PREFIX}tokens": [text or f"[PAD{id}]" for id, text in enumerate(vocabulary.tokens)],
        f"{PREFIX}token_type": vocabulary.types.astype(np.int32),
        f"{PREFIX}add_bos_token": tokenizer.add_bos,
        f"{PREFIX}add_eos_token": tokenizer.add_eos,
    }
    eos = tokenizer.after[-1] if tokenizer.after else vocabulary.eos_id  # GGUF has one role for both
    for role, id in (("bos", vocabulary.bos_id), ("eos", eos), ("unknown", vocabulary.unknown_id)):
        if id is not None:
            common[f"{PREFIX}{role}_token_id"] = id
    others = sorted(vocabulary.end_of_generation - {eos})
    common |= {f"{PREFIX}{role}_token_id": id for role, id in zip(("eot", "eom"), others, strict=False)}
    for name, template in files.chat_templates().items():
        common[gguf_key(name)] = template
    for own in _candidates(files, tokenizer):
        made = Tokenizer.from_gguf(common | own)
        if made.encode(PROBE) == tokenizer.encode(PROBE):
            if own[f"{PREFIX}model"] in _OF_ENCODERS:
                if made.pair != tokenizer.pair:
                    raise UnsupportedModelError(f"{files.directory}: GGUF cannot say what stands between two texts")
            elif made.end_of_generation != tokenizer.end_of_generation:
                raise UnsupportedModelError(f"{files.directory}: GGUF has no room for all tokens that end a reply")
            return common | own
    raise UnsupportedModelError(f"{files.directory}: GGUF has no name for how the tokenizer cuts a text into words")


def _candidates(files: TextFiles, tokenizer: Tokenizer) -> Iterator[dict[str, Any]]:
    """What may describe the model of the tokenizer, the likely first."""
    if (files.directory / SENTENCEPIECE_MODEL).is_file():
        yield _sentence_pieces(files, tokenizer)
        return
    from lutmac.text.tokenizer_json import TokenizerJson  # noqa: PLC0415 (only what is needed)

    file = TokenizerJson(files.document())
    if file.normalization is not None:
        yield _word_pieces(file, tokenizer)
        return
    if file.unigrams is not None:
        yield _unigrams(file.unigrams, tokenizer)
        return
    if not file.byte_level and file.merges is not None:  # of characters, with spaces written otherwise
        yield {f"{PREFIX}model": "gemma4", f"{PREFIX}merges": file.merges}
    if not file.byte_level or file.merges is None:
        raise UnsupportedModelError(
            f"{files.directory}: GGUF needs {SENTENCEPIECE_MODEL} where {TOKENIZER_JSON} is not of bytes"
        )
    tried = []
    for name in (*USUAL, *PRE_TOKENIZERS):
        if PRE_TOKENIZERS[name] not in tried:
            tried.append(PRE_TOKENIZERS[name])
            yield {f"{PREFIX}model": "gpt2", f"{PREFIX}pre": name, f"{PREFIX}merges": file.merges}


def _word_pieces(file: TokenizerJson, tokenizer: Tokenizer) -> dict[str, Any]:
    """WordPiece: GGUF marks pieces that begin a word, where tokenizer.json marks those that go on."""
    from lutmac.text.word_pieces import as_in_gguf  # noqa: PLC0415 (as above)

    vocabulary, normalization = tokenizer.vocabulary, file.normalization
    assert normalization is not None
    control = set(vocabulary.of_type(TokenType.CONTROL))
    texts = (as_in_gguf(text) if text and id not in control else text for id, text in enumerate(vocabulary.tokens))
    roles = {"cls": tokenizer.before[:1], "seperator": tokenizer.after[-1:]}  # as GGUF spells it
    return {
        f"{PREFIX}model": "bert",
        f"{PREFIX}tokens": [text or f"[PAD{id}]" for id, text in enumerate(texts)],
        f"{PREFIX}normalizer.lowercase": normalization.lower_cases,
        f"{PREFIX}normalizer.strip_accents": normalization.strips_accents,
        **{f"{PREFIX}{role}_token_id": ids[0] for role, ids in roles.items() if ids},
    }


def _unigrams(file: Unigrams, tokenizer: Tokenizer) -> dict[str, Any]:
    """Unigrams, as XLM-RoBERTa has them; two separators between texts are EOS and one more."""
    types = tokenizer.vocabulary.types.astype(np.int32)
    if file.unknown_id is not None:
        types[file.unknown_id] = TokenType.UNKNOWN
    scores = np.full(tokenizer.vocab_size, -1000.0, np.float32)
    scores[: len(file.scores)] = file.scores[: tokenizer.vocab_size]
    unknown = [] if file.unknown_id is None else [file.unknown_id]
    roles = {"bos": tokenizer.before[:1], "seperator": tokenizer.after[-1:], "unknown": unknown}
    return {
        f"{PREFIX}model": "t5",
        f"{PREFIX}pre": "default",
        f"{PREFIX}scores": scores,
        f"{PREFIX}token_type": types,
        f"{PREFIX}add_space_prefix": True,
        f"{PREFIX}remove_extra_whitespaces": file.removes_spaces,
        f"{PREFIX}precompiled_charsmap": np.frombuffer(file.characters, np.uint8),
        f"{PREFIX}add_bos_token": bool(tokenizer.before),
        f"{PREFIX}add_eos_token": bool(tokenizer.after),
        f"{PREFIX}add_sep_token": len(tokenizer.pair.between) > len(tokenizer.after),
        **{f"{PREFIX}{role}_token_id": ids[0] for role, ids in roles.items() if ids},
    }


def _sentence_pieces(files: TextFiles, tokenizer: Tokenizer) -> dict[str, Any]:
    from lutmac.text.sentencepiece_model import SentencePieceModel  # noqa: PLC0415 (as above)

    model = SentencePieceModel((files.directory / SENTENCEPIECE_MODEL).read_bytes())
    if not model.merges_pairs:
        raise UnsupportedModelError(f"{files.directory}: GGUF's tokenizers have no SentencePiece models of unigrams")
    scores = np.full(tokenizer.vocab_size, -1000.0, np.float32)
    scores[: len(model.scores)] = model.scores[: tokenizer.vocab_size]
    return {
        f"{PREFIX}model": "llama",
        f"{PREFIX}pre": "default",
        f"{PREFIX}scores": scores,
        f"{PREFIX}add_space_prefix": tokenizer.prefix.added,
    }
