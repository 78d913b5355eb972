"""A model's chat template, as the command line uses it."""

from __future__ import annotations

import pytest

import lutmac
from lutmac.cli.asking import Asker
from lutmac.cli.dialogue import Dialogue
from lutmac.text.chat import ChatTemplate

SWITCH = (
    "{% for message in messages %}[{{ message['role'] }}]{{ message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}[assistant]"
    "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% else %}<think>{% endif %}{% endif %}"
)
HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def thinker(tiny):
    model = lutmac.load(tiny.path, threads=1, context=256)
    model.chat_template = ChatTemplate(SWITCH)
    return model


def test_thinking_can_be_switched_where_the_template_has_a_switch(thinker, tiny_model):
    assert Asker(thinker).prompt(HELLO).begun == "[assistant]<think>"
    texts = [thinker.tokenizer.decode(Asker(thinker, think=think).prompt(HELLO).ids) for think in (True, False)]
    assert [text.endswith("<think></think>") for text in texts] == [False, True]
    with pytest.raises(lutmac.InvalidRequestError, match="no switch for thinking"):
        Asker(tiny_model, think=True)


def test_what_stands_behind_open_marks_is_thought(thinker):
    """Bytes are tokens here: the reply is made to be what it is by biases that leave no choice."""
    found = {}
    for think in (True, False):
        asker = Asker(thinker, think=think)
        pieces = asker.pieces(asker.prompt(HELLO), {"max_tokens": 3, "logit_bias": {ord("x"): 1000.0}})
        texts = [(piece.text, piece.thoughts) for piece in pieces]
        found[think] = ["".join(parts) for parts in zip(*texts, strict=True)]
    assert found == {True: ["", "xxx"], False: ["xxx", ""]}


def test_the_oldest_turns_are_left_out_and_the_system_message_stays(tiny_model):
    asker, dialogue = Asker(tiny_model), Dialogue("Be brief.")
    said = [{"role": role, "content": f"{role} {place} " * 4} for place in range(5) for role in ("user", "assistant")]
    said.append({"role": "user", "content": "The last one."})
    whole, none = dialogue.fitting_prompt(asker, said, 10_000)
    assert none == 0
    fitting, dropped = dialogue.fitting_prompt(asker, said, 300)
    assert 0 < dropped < len(said)
    assert said[dropped]["role"] == "user"
    assert len(fitting.ids) <= 0.75 * 300 < len(whole.ids)
    text = tiny_model.tokenizer.decode(fitting.ids)
    assert "Be brief." in text
    assert "The last one." in text
    with pytest.raises(lutmac.ContextOverflowError):
        dialogue.fitting_prompt(asker, said, 20)
