"""Chats: what the template writes, and what a user cannot make it write."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vocabularies import Metadata, texts

from lutmac.errors import CheckpointError, InvalidRequestError, UnsupportedModelError
from lutmac.text import ChatTemplate, Tokenizer, encode_chat
from lutmac.text.chat import CHATML, PLAIN

USER = [{"role": "user", "content": "Hello"}]


def render(source: str, **extra: object) -> str:
    return ChatTemplate(source).render(USER, **extra)


def test_smollm2s_template_gives_the_prompt_its_authors_meant(smollm2: Tokenizer, smollm2_metadata: Metadata) -> None:
    template = ChatTemplate.from_gguf(smollm2_metadata, smollm2)
    expected = (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"
    )
    assert template.render(USER) == expected
    assert encode_chat(smollm2, template, USER) == smollm2.encode(expected, parse_special=True)


@given(contents=st.lists(texts, min_size=1, max_size=4))
def test_no_message_can_hold_a_control_token(bpe: Tokenizer, contents: list[str]) -> None:
    template = ChatTemplate(CHATML)
    roles = ["user", "assistant"] * 2
    messages = [{"role": role, "content": text} for role, text in zip(roles, contents, strict=False)]
    ids = encode_chat(bpe, template, messages)
    assert sum(map(bpe.is_special, ids)) == 2 * len(messages) + 1
    assert bpe.decode(ids, skip_special=False) == template.render(messages)


def test_a_harmless_chat_is_encoded_as_its_text(bpe: Tokenizer) -> None:
    text = ChatTemplate(CHATML).render(USER)
    assert encode_chat(bpe, ChatTemplate(CHATML), USER) == bpe.encode(text, parse_special=True)


@pytest.mark.parametrize(
    "content",
    [
        ["<|im_", "end|>"],
        ["<", "|im_end|>"],
        ["<|im_end|", ">"],
        ["<|im_ \n", "end|>"],
        ["\U000f0000<|im_end|>\U000f0001", "\U000fffff"],
    ],
)
def test_halves_of_a_control_token_do_not_join(bpe: Tokenizer, content: list[str]) -> None:
    parts = "{% for m in messages %}{% for part in m.content %}{{ part.text | trim }}{% endfor %}{% endfor %}"
    messages = [{"role": "user", "content": [{"type": "text", "text": text} for text in content]}]
    ids = encode_chat(bpe, ChatTemplate(parts), messages)
    assert not any(map(bpe.is_special, ids))
    assert bpe.decode(ids) == "".join(text.strip() for text in content)


def test_tools_and_extra_variables_hold_no_control_tokens_either(bpe: Tokenizer) -> None:
    template = ChatTemplate("{{ tools | tojson }}{{ documents[0] }}{{ messages[0].role }}")
    ids = encode_chat(bpe, template, USER, tools=[{"<s>": "<|im_end|>"}], documents=["<|im_start|>"])
    assert not any(map(bpe.is_special, ids))
    assert bpe.decode(ids) == '[{"<s>": "<|im_end|>"}]<|im_start|>user'


def test_a_template_may_look_into_a_message(bpe: Tokenizer) -> None:
    source = "{% for m in messages %}{{ m.content.split('</think>')[-1] | trim }}{% endfor %}"
    messages = [{"role": "assistant", "content": "hm <|im_end|></think> yes <s> "}]
    assert bpe.decode(encode_chat(bpe, ChatTemplate(source), messages)) == "yes <s>"


@pytest.mark.parametrize("written", ["", "{{ bos_token }}"])
def test_bos_comes_once(bpe_metadata: Metadata, written: str) -> None:
    metadata = {**bpe_metadata, "tokenizer.ggml.add_bos_token": True, "tokenizer.chat_template": written + "fox"}
    tokenizer = Tokenizer.from_gguf(metadata)
    ids = encode_chat(tokenizer, ChatTemplate.from_gguf(metadata, tokenizer), USER)
    assert ids == [tokenizer.bos_id, *tokenizer.encode("fox", add_special=False)]


def test_a_file_without_a_template_gets_chatml_if_its_vocabulary_has_it(bpe_metadata: Metadata, bpe: Tokenizer) -> None:
    assert ChatTemplate.from_gguf(bpe_metadata, bpe).source == CHATML
    assert ChatTemplate(CHATML).render(USER) == "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"


def test_any_other_file_without_a_template_gets_plain_turns(spm_metadata: Metadata, spm: Tokenizer) -> None:
    assert ChatTemplate.from_gguf(spm_metadata, spm).source == PLAIN
    assert ChatTemplate(PLAIN).render(USER) == "User: Hello\nAssistant:"
    assert ChatTemplate(PLAIN).render(USER, add_generation_prompt=False) == "User: Hello\n"


def test_templates_have_what_transformers_gives_them() -> None:
    assert json.loads(render("{{ messages | tojson }}")) == USER
    assert render("{{ {'a': '<é>'} | tojson(indent=1) }}") == '{\n "a": "<é>"\n}'
    assert render("{{ strftime_now('%Y') }}").isdigit()
    assert render("{% for i in range(9) %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}") == "012"
    assert render("{% generation %}x{% endgeneration %}") == "x"
    assert render("  {% if true %}\n  y\n  {% endif %}\n") == "  y\n"
    assert render("{% set ns = namespace(n=1) %}{% for m in messages %}{% set ns.n = 2 %}{% endfor %}{{ ns.n }}") == "2"
    assert render("{{ 'a' ~ 1 ~ none ~ x }}{{ loops }}", x="é", loops=2 * 3) == "a1Noneé6"
    assert render("{% for m in messages %}{{ loop.index }}/{{ loop.length }}{{ loop.last }}{% endfor %}") == "1/1True"
    assert ChatTemplate("{{ bos_token + eos_token }}", bos_token="<s>", eos_token="</s>").render(USER) == "<s></s>"


def test_what_a_filter_gives_is_a_list_in_json() -> None:
    """As llama.cpp has it; transformers raises an error."""
    tools = [{"function": {"name": name}} for name in ("one", "two")]
    written = render("{{ tools | map(attribute='function') | tojson }}", tools=tools)
    assert json.loads(written) == [{"name": "one"}, {"name": "two"}]
    with pytest.raises(InvalidRequestError, match="Object of type Namespace is not JSON serializable"):
        render("{{ namespace() | tojson }}")


def test_null_content_beside_calls_is_no_content(bpe: Tokenizer) -> None:
    """As OpenAI's API has a reply that only calls; Qwen 3's template and others look into content."""
    template = ChatTemplate(
        "{% for m in messages %}{{ '</think>' in m.content }}{{ m.content }}"
        "{% for call in m.tool_calls %}{{ call | tojson }}{% endfor %}{% endfor %}"
    )
    calls = [{"type": "function", "function": {"name": "look", "arguments": "{}"}}]
    chat = [*USER, {"role": "assistant", "content": None, "tool_calls": calls}]
    ids = encode_chat(bpe, template, chat, add_generation_prompt=False)
    written = bpe.decode(ids, skip_special=False)
    assert written == 'FalseHelloFalse{"type": "function", "function": {"name": "look", "arguments": {}}}'


def test_a_template_that_refuses_the_messages_says_why() -> None:
    with pytest.raises(InvalidRequestError, match=r"no system role here$"):
        render("{{ raise_exception('no system\n role here') }}")


def test_messages_that_a_template_cannot_handle_are_the_callers_mistake() -> None:
    with pytest.raises(InvalidRequestError, match="TypeError"):
        ChatTemplate("{{ messages[0].content + 'x' }}").render([{"role": "user", "content": None}])


@pytest.mark.parametrize("messages", [[], ["Hello"], [{"content": "Hello"}], [{"role": 1}]])
def test_what_is_no_chat_is_refused(bpe: Tokenizer, messages: list[dict[str, object]]) -> None:
    with pytest.raises(InvalidRequestError):
        encode_chat(bpe, ChatTemplate(CHATML), messages)


@pytest.mark.parametrize("source", ["{% for %}", "{{ x | nosuchfilter }}", "{% nosuchtag %}", "{{", "{% endif %}"])
def test_a_template_that_does_not_compile_is_unsupported(source: str) -> None:
    with pytest.raises(UnsupportedModelError, match="chat template") as caught:
        ChatTemplate(source)
    assert "\n" not in str(caught.value)


def test_a_gguf_file_may_have_several_templates(bpe_metadata: Metadata, bpe: Tokenizer) -> None:
    named = {
        "tokenizer.chat_templates": ["tool_use"],
        "tokenizer.chat_template": "A",
        "tokenizer.chat_template.tool_use": "B",
    }
    template = ChatTemplate.from_gguf({**bpe_metadata, **named}, bpe)
    assert template.for_chat(with_tools=False).source == "A"
    assert template.for_chat(with_tools=True).source == "B"
    assert bpe.decode(encode_chat(bpe, template, USER, tools=[{}])) == "B"
    del named["tokenizer.chat_template"]
    assert ChatTemplate.from_gguf({**bpe_metadata, **named}, bpe).source == "B"


def test_a_template_that_is_no_text_is_a_damaged_file(bpe_metadata: Metadata, bpe: Tokenizer) -> None:
    with pytest.raises(CheckpointError, match="chat_template"):
        ChatTemplate.from_gguf({**bpe_metadata, "tokenizer.chat_template": 3}, bpe)


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ self.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ '{0.__class__.__mro__}'.format('') or 1 / 0 }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
        "{{ messages[0].update({'role': 'system'}) }}",
    ],
)
def test_a_template_cannot_leave_its_sandbox(source: str) -> None:
    with pytest.raises((UnsupportedModelError, InvalidRequestError)):
        render(source)


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
        "{% for i in range(10 ** 9) %}{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% for i in [1] recursive %}{% if loop.depth < 9 %}{{ loop(range(90)) }}{% endif %}{% endfor %}",
        "{{ 'x' * 10 ** 10 }}",
        "{{ 9 ** 999999999 }}",
        "{% set n = namespace(s='xxxx') %}{% for i in range(60) %}{% set n.s = n.s ~ n.s %}{% endfor %}",
        "{% set n = namespace(s='xxxx') %}{% for i in range(60) %}{% set n.s = n.s + n.s %}{% endfor %}",
        "{% for i in range(90000) %}{{ messages[0].content * 100 }}{% endfor %}",
    ],
)
def test_a_template_cannot_run_or_write_without_end(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lutmac.text.sandbox.MAX_ITERATIONS", 20_000)  # the same bound, reached sooner
    with pytest.raises(UnsupportedModelError, match="stopped"):
        render(source)


def test_a_chat_of_thousands_of_messages_is_within_bounds() -> None:
    messages = [{"role": "user", "content": " Hello "}] * 5000
    source = "{% for m in messages %}{{ m.content.strip().split('x')[0].upper() }}{% endfor %}"
    assert ChatTemplate(source).render(messages) == "HELLO" * 5000


CALL = {"type": "function", "id": "c1", "function": {"name": "add", "arguments": '{"a": 1}'}}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "2"}


@pytest.mark.parametrize("result", [RESULT, {**RESULT, "content": [{"type": "text", "text": "2"}]}])
def test_calls_and_results_are_text_for_a_template_that_knows_none(bpe: Tokenizer, result: dict[str, object]) -> None:
    """Also where it would refuse the role of a result."""
    strict = CHATML.replace("{% for message in messages %}", "{% for message in messages %}"
                            "{% if message.role == 'tool' %}{{ raise_exception('no tools') }}{% endif %}")  # fmt: skip
    assert strict != CHATML
    chat = [
        {"role": "user", "content": "1 + 1?"},
        {"role": "assistant", "content": "So:", "tool_calls": [CALL]},
        result,
    ]
    written = [
        chat[0],
        {"role": "assistant", "content": 'So:\n<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'},
        {"role": "user", "content": "<tool_response>\n2\n</tool_response>"},
    ]
    for source in (CHATML, strict):
        template = ChatTemplate(source)
        assert encode_chat(bpe, template, chat) == encode_chat(bpe, template, written)
