"""The pre-tokenizers that `tokenizer.ggml.pre` can name: how text is cut into words before byte pairs are merged.

A pre-tokenizer is a list of patterns in Oniguruma's syntax. Each in turn cuts every piece the ones before it left,
into its matches and what lies between them. Where llama.cpp approximates a model's own pattern because its regex
engine lacks a feature, the model's own is used here. What counts as a letter or a number is Oniguruma's to say, as it
was when these models were trained; llama.cpp's tables are of a newer Unicode.
"""

# ruff: noqa: RUF001 (the punctuation of other scripts is meant)

from __future__ import annotations

from dataclasses import dataclass

from lutmac.errors import UnsupportedModelError

_CONTRACTION = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
_SPACES = r"|\s+(?!\S)|\s+"
_LINES_AND_SPACES = r"|\s*[\r\n]+" + _SPACES
_SYMBOLS = r"| ?[^\s\p{L}\p{N}]+[\r\n]*"
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
# A word in which capitals come first, so that camelCase is cut.
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_ASCII_PUNCTUATION = r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]"""

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+" + _SPACES
_DIGIT = r"\p{N}"
_LLAMA3 = rf"{_CONTRACTION}|{_WORD}|\p{{N}}{{1,3}}{_SYMBOLS}{_LINES_AND_SPACES}"
_QWEN2 = rf"{_CONTRACTION}|{_WORD}|\p{{N}}{_SYMBOLS}{_LINES_AND_SPACES}"
_BLOOM = r" ?[^(\s|.,!?…。，、।۔،)]+"
_LINES = r"[^\n]+|\n+"
_ASIAN = "[一-鿿㐀-䶿豈-﫿぀-ゟ゠-ヿ･-ﾟ⼀-⿟เ-๿຀-໿ក-៿က-႟ꩠ-ꩿꧠ-꧿가-힯ᄀ-ᇿ]+"
_CJK = "[一-龥぀-ゟ゠-ヿ]+"

# Looking ahead to the end of a number takes quadratic time, so these look no further than 1,000 digits.
_THREES_FROM_THE_RIGHT = r"\d{1,3}(?=(?:\d{3}){0,333}\b)"
_BEFORE_THREES = r"(?=(\d{3}){1,333}(?!\d))"


def _cased(contraction: str, digits: str, symbols: str = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*") -> str:
    lead = r"[^\r\n\p{L}\p{N}]?"
    return (
        f"{lead}{_UPPER}*{_LOWER}+{contraction}|{lead}{_UPPER}+{_LOWER}*{contraction}"
        f"|{digits}{symbols}{_LINES_AND_SPACES}"
    )


_TEKKEN = _cased("", r"\p{N}")
_GPT4O = _cased(f"{_CONTRACTION}?", r"\p{N}{1,3}")
_DEEPSEEK3 = (
    r"\p{N}{1,3}",
    _CJK,
    rf"{_ASCII_PUNCTUATION}[A-Za-z]+|[^\r\n\p{{L}}\p{{P}}\p{{S}}]?[\p{{L}}\p{{M}}]+| ?[\p{{P}}\p{{S}}]+[\r\n]*"
    + _LINES_AND_SPACES,
)
# Latin, Greek, Cyrillic, Armenian, Georgian, Cherokee, Coptic, Deseret, Osage, … letters, as the model spells them out.
_DEEPSEEK_LETTERS = (
    "A-Za-z\u00b5\xc0-\xd6\xd8-\xf6\xf8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373\u0376\u0377"
    "\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f"
    "\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77"
    "\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d"
    "\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb"
    "\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128"
    "\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4"
    "\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf"
    "\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f\U000104b0-\U000104d3"
    "\U000104d8-\U000104fb\U00010c80-\U00010cb2\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943"
)


@dataclass(frozen=True)
class PreTokenizer:
    """How to cut text into words, and what else the name implies.

    `ignore_merges`: a word that is itself a token is taken whole. `adds_bos`: the file need not ask for BOS.
    `normalizes`: the text is brought to Unicode's normal form C first, as the models' own tokenizer.json has it.
    `spaces`: characters are not written byte by byte; a space is ▁, as in SentencePiece. `adds_sep`: two texts have two
    separators between them.
    """

    patterns: tuple[str, ...]
    ignore_merges: bool = False
    adds_bos: bool = False
    normalizes: bool = False
    spaces: bool = False
    adds_sep: bool = False


_KINDS: dict[tuple[str, ...], PreTokenizer] = {
    ("default",): PreTokenizer((r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]")),
    (
        "gpt-2", "phi-2", "jais", "trillion", "granite-docling", "gigachat", "a.x-4.0", "mellum", "exaone4", "jina-es",
        "jina-de", "jina-v2-es", "jina-v2-de", "modern-bert",
    ): PreTokenizer((_GPT2,)),
    ("roberta-bpe", "jina-v1-en", "jina-v2-code"): PreTokenizer((_GPT2,), adds_sep=True),
    ("mpt", "olmo"): PreTokenizer((_GPT2,), normalizes=True),  # the tokenizer of GPT-NeoX
    (
        "starcoder", "refact", "smollm", "codeshell", "exaone", "minerva-7b", "mellum2",
    ): PreTokenizer((_DIGIT, _GPT2)),
    ("command-r",): PreTokenizer((_DIGIT, _GPT2), normalizes=True),
    ("falcon",): PreTokenizer((r"[\p{P}\$\+<=>\^~\|`]+", _GPT2, "[0-9][0-9][0-9]")),
    (
        "llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2",
        "jina-v5-nano",
    ): PreTokenizer((_LLAMA3,), ignore_merges=True, adds_bos=True),
    ("dbrx", "smaug-bpe", "chatglm-bpe"): PreTokenizer((_LLAMA3,)),
    ("glm4", "glm5"): PreTokenizer((_LLAMA3,), ignore_merges=True),
    ("minicpm5",): PreTokenizer((r"\p{N}{1,3}", _LLAMA3), ignore_merges=True),
    ("qwen2", "deepseek-r1-qwen", "megrez", "f2llmv2"): PreTokenizer((_QWEN2,), normalizes=True),
    ("stablelm2", "kormo", "hunyuan", "solar-open", "grok-2"): PreTokenizer((_QWEN2,)),
    ("ufakzeka",): PreTokenizer((rf"{_WORD}|\p{{N}}{_SYMBOLS}{_LINES_AND_SPACES}",)),
    ("laguna",): PreTokenizer((r"[^\n]+|[\n]+", _QWEN2)),
    ("qwen35",): PreTokenizer((
        rf"{_CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*"
        + _LINES_AND_SPACES,
    )),
    ("bailingmoe", "bailingmoe2", "llada-moe"): PreTokenizer((
        rf"'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|{_WORD}|\p{{N}}{_SYMBOLS}|\s*[\r\n]{_SPACES}",
    )),
    ("seed-coder",): PreTokenizer((
        rf"{_CONTRACTION}|{_WORD}|\p{{N}}| ?[^\s\p{{L}}\p{{N}}\r\n]+{_LINES_AND_SPACES}",
    )),
    ("exaone-moe",): PreTokenizer((
        rf"{_CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?(?:\p{{L}}\p{{M}}*(?: \p{{L}}\p{{M}}*)*)+|\p{{N}}"
        rf"| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]?|\s*[\r\n]{_SPACES}",
    )),
    ("jais-2",): PreTokenizer((
        rf"{_CONTRACTION}|{_WORD}|\p{{N}}{{1,3}}{_SYMBOLS}|\s*[\r\n]+"
        + "".join(rf"|\s{{{count}}}(?!\S)" for count in (512, 256, 128, 64, 32, 16, 8, 4)) + r"|\s{1,2}(?!\S)|\s{1}",
    )),
    ("tekken",): PreTokenizer((_TEKKEN,), ignore_merges=True, adds_bos=True),
    ("gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"): PreTokenizer((_GPT4O,)),
    ("granite-embed-multi-97m",): PreTokenizer((_GPT4O,), ignore_merges=True),
    ("tiny_aya", "cohere2moe"): PreTokenizer((_THREES_FROM_THE_RIGHT, _GPT4O), normalizes=True),
    ("youtu",): PreTokenizer((
        "[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|" + _CJK, _cased(f"{_CONTRACTION}?", r"\p{N}"),
    ), ignore_merges=True),
    ("kimi-k2",): PreTokenizer((
        r"\p{Han}+|" + _cased(f"{_CONTRACTION}?", r"\p{N}{1,3}", _SYMBOLS)
        .replace(_UPPER, _UPPER[:-1] + r"&&[^\p{Han}]]").replace(_LOWER, _LOWER[:-1] + r"&&[^\p{Han}]]"),
    )),
    ("deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"): PreTokenizer(_DEEPSEEK3),
    ("spark2_5",): PreTokenizer((
        *_DEEPSEEK3[:2],
        rf"{_ASCII_PUNCTUATION}[A-Za-z]+|[^\r\n\p{{L}}\p{{P}}\p{{S}}]?[\p{{L}}\p{{M}}]+| ?[\p{{P}}\p{{S}}]+"
        rf"|[\r\n]{_SPACES}",
        _DIGIT,
    )),
    ("afmoe",): PreTokenizer((_THREES_FROM_THE_RIGHT, _ASIAN, _DEEPSEEK3[2])),
    ("chameleon",): PreTokenizer((
        "<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", r"([\t\n]|    |  )", _DIGIT,
        r"[\p{P}!-/:-@\[-`{-~]", _GPT2.removesuffix(r"|\s+"),
    ), adds_bos=True),
    ("gemma4", "granite-embed-multi-311m"): PreTokenizer((_LINES,), spaces=True, adds_bos=True),
    ("sarvam-moe",): PreTokenizer((_LINES,), spaces=True),
    ("deepseek-coder",): PreTokenizer((r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", r"\p{N}")),
    ("deepseek-llm",): PreTokenizer((
        r"[\r\n]", rf"\s?[{_DEEPSEEK_LETTERS}]+", r"\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$", "[一-龥ࠀ-一가-퟿]+",
        r"\p{N}+",
    )),
    ("poro-chat", "bloom", "gpt3-finnish"): PreTokenizer((_BLOOM,)),
    ("viking",): PreTokenizer((_BLOOM, r"\p{N}")),
    ("superbpe",): PreTokenizer((r"\p{N}+", _BEFORE_THREES)),
}  # fmt: skip

PRE_TOKENIZERS: dict[str, PreTokenizer] = {name: kind for names, kind in _KINDS.items() for name in names}
"""Every pre-tokenizer by its name."""


def pre_tokenizer(name: str | None) -> PreTokenizer:
    """The pre-tokenizer of that name; None, from files older than the key, means "default".

    Raises UnsupportedModelError for a name that is not known.
    """
    kind = PRE_TOKENIZERS.get(name or "default")
    if kind is None:
        known = ", ".join(sorted(PRE_TOKENIZERS))
        raise UnsupportedModelError(f"unknown pre-tokenizer {name!r} (tokenizer.ggml.pre); known are: {known}")
    return kind
