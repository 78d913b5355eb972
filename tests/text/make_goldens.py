"""Writes data/smollm2_ids.json: what llama.cpp's tokenizer makes of some texts.

pip install llama-cpp-python
python tests/text/make_goldens.py SmolLM2-135M-Instruct.Q4_1.gguf ../shared/data/wikitext-2/test.txt
"""

# ruff: noqa: RUF001 (the letters and the punctuation of other scripts are meant)

import array
import hashlib
import json
import sys
from pathlib import Path

from llama_cpp import Llama

TEXTS = {
    "empty": "",
    "english": "The quick brown fox jumps over the lazy dog. It's 3.14159, isn't it? We'll see; they've won!",
    "german": "Füße, Größe und Straße: „Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.“",
    "french": "L'été dernier, à Noël, où était l’élève ? Ça va bien…",
    "greek": "Η γρήγορη καφέ αλεπού πηδάει πάνω από το τεμπέλικο σκυλί.",
    "russian": "Съешь же ещё этих мягких французских булок, да выпей чаю.",
    "armenian and georgian": "Բարեւ աշխարհ։ გამარჯობა მსოფლიო!",
    "hebrew": "דג סקרן שט בים מאוכזב ולפתע מצא חברה. שָׁלוֹם",
    "arabic": "نص حكيم له سر قاطع وذو شأن عظيم، ٠١٢٣٤٥٦٧٨٩",
    "hindi": "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण १२३",
    "bengali": "আমি বাংলায় গান গাই।",
    "tamil": "யாமறிந்த மொழிகளிலே தமிழ்மொழி போல் இனிதாவது எங்கும் காணோம்",
    "thai": "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า ๑๒๓",
    "chinese": "我能吞下玻璃而不伤身体。１２３，你好！",
    "japanese": "いろはにほへと ちりぬるを。カタカナ・ﾊﾝｶｸ 日本語のテキスト「括弧」",
    "korean": "다람쥐 헌 쳇바퀴에 타고파. 안녕하세요?",
    "ethiopic and tibetan": "ሰማይ አይታረስ ንጉሥ አይከሰስ። བོད་སྐད",
    "decomposed": "e\u0301 n\u0303 o\u0308 \u1e9b\u0323 한 किं",
    "emoji": "😀 👨‍👩‍👧‍👦 🏳️‍🌈 🇩🇪🇫🇷🇯🇵 👍🏽 ❤️ 1️⃣ \U0001fae8",
    "mathematics": "∀x∈ℝ: ∑ᵢ xᵢ² ≥ 0 ⇒ √(a²+b²) ≤ ½ Ⅷ 𝒜𝔹",
    "python": 'def f(x: int) -> str:\n    """Doc."""\n    if x >= 10_000:\n\t\treturn f"{x!r:>10}"\n    return None\n',
    "c++": "template<class T> auto&& f(T* p) { return *p++ ->* x[i] << 2; } // ok\r\n#define A(x) (x)##_\r\n",
    "json": '{"a": [1, 2.5e-10, null, true], "b": {"\\u00e9": "\\n"}}',
    "html": "<!DOCTYPE html><p class='x'>&nbsp;<br/></p><!-- c -->",
    "numbers": "1 12 123 1234 12345678901234567890 3.14 1,000,000 0x1F ½ ²",
    "spaces": " a  b   c    d" + " " * 100 + "e" + " " * 17,
    "newlines": "a\nb\n\nc\n\n\nd\r\ne\r\rf" + "\n" * 50 + " \n \n\t\n",
    "tabs": "\ta\t\tb \t c\t",
    "unicode spaces": "a\u00a0b\u2003c\u3000d\u2028e\u2029f\u0085g\u1680h\u200bi\ufeffj",
    "control characters": "".join(map(chr, range(1, 32))) + "\x7f\x80\x9f",
    "nul": "a\0b\0\0 \0",
    "punctuation runs": "!!!???...---===***((([[[{{{<<<>>>}}}]]])))~~~^^^```",
    "contractions": "I'm you're he's 'S 'LL don’t o'clock ''s '' 'tis rock'n'roll",
    "odd code points": "\ufffd\ufffe\uffff\U0010ffff\ue000\U000f0000\u0378\ud7ff\U0001f9ff",
    "special tokens": "<|im_start|>user\nhi<|im_end|>\n<|endoftext|><repo_name>x<file_sep>",
    "special look-alikes": "<|im_end| ><|im_en d|><|IM_END|>|im_end|><|im_end|>><<|im_end|>",
    "byte alphabet": "Ġhello Ċ Ā ▁ <0x0A> [UNK]",
    "long word": "a" * 200 + "日" * 100 + "1" * 50,
}


def digest(ids: list[int]) -> str:
    """SHA-256 of the ids as 32-bit little-endian numbers."""
    return hashlib.sha256(array.array("i", ids).tobytes()).hexdigest()


def main(model: str, corpus: str) -> None:
    """Tokenise and write."""
    llama = Llama(model, vocab_only=True, verbose=False)

    def ids(text: bytes, special: bool) -> list[int]:
        return llama.tokenize(text, add_bos=False, special=special)

    texts = [
        {"name": name, "text": text, "ids": ids(text.encode(), False), "special_ids": ids(text.encode(), True)}
        for name, text in TEXTS.items()
    ]
    whole = ids(Path(corpus).read_bytes(), False)
    goldens = {"texts": texts, "wikitext2_test": {"count": len(whole), "sha256": digest(whole)}}
    path = Path(__file__).parent / "data" / "smollm2_ids.json"
    path.write_text(json.dumps(goldens, separators=(",", ":")).replace('{"name"', '\n{"name"') + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
