import json
import time

import pytest
from terminal import COMMAND, CTRL_C, CTRL_D, Terminal

from lutmac.cli.message_reader import state_directory

LONG = "Write a very long story about a ship.\r"
GREETING = "/help shows what you can type."
PASTE_BEGIN, PASTE_END = "\x1b[200~", "\x1b[201~"


@pytest.fixture
def terminal(smollm2_path):
    command = [*COMMAND, "chat", str(smollm2_path), "--temperature", "0", "--max-tokens", "100"]
    with Terminal(command) as terminal:
        terminal.wait_for("> ")
        yield terminal


def typed(terminal, text, wanted):
    """Types a line and waits for what is wanted behind it, and for the next prompt."""
    place = len(terminal.screen)
    terminal.type(text + "\r")
    place = terminal.wait_for(wanted, after=place, timeout=60)
    return terminal.wait_for("> ", after=place)


def test_ctrl_c_stops_a_reply_and_not_the_session(terminal):
    place = terminal.wait_for("> ")
    terminal.type(LONG)
    place = terminal.wait_for(LONG.strip(), after=0)
    terminal.wait_for_more(place + 20)
    terminal.type(CTRL_C)
    place = terminal.wait_for("[stopped]", after=place)
    place = terminal.wait_for("> ", after=place)
    terminal.type("Say hello.\r")
    place = terminal.wait_for("Say hello.", after=place)
    place = terminal.wait_for("> ", after=place)
    terminal.type(CTRL_D)
    assert terminal.exit_code() == 0
    assert "Traceback" not in terminal.screen


def test_ctrl_c_at_the_prompt_does_not_leave(terminal):
    # Between showing its prompt and listening, readline can lose a signal: a person presses again.
    place = terminal.press_until(CTRL_C, "/exit")
    terminal.wait_for("> ", after=place)
    terminal.type("/exit\r")
    assert terminal.exit_code() == 0


def test_commands(terminal):
    place = len(terminal.screen)
    terminal.type("/help\r")
    place = terminal.wait_for("/reset ", after=place)
    place = terminal.wait_for("> ", after=place)
    terminal.type("/reset\r")
    place = terminal.wait_for("forgotten", after=place)
    terminal.type("/nonsense\r")
    place = terminal.wait_for("No such command", after=place)
    terminal.wait_for("> ", after=place)  # before its prompt the terminal keeps Ctrl-D to itself
    terminal.type(CTRL_D)
    assert terminal.exit_code() == 0


def test_the_greeting_names_the_model(terminal, smollm2_path):
    terminal.wait_for(GREETING)
    assert f"{smollm2_path.resolve().name}: llama, 135M parameters of 5.74 bits, context 8192" in terminal.screen


def test_a_paste_is_one_message_and_so_is_what_stands_between_quotes(terminal, tmp_path):
    typed(terminal, f"{PASTE_BEGIN}What is the capital of Japan?\nAnd which country is it in?{PASTE_END}", "tok/s]")
    terminal.type('"""What is the capital\r')
    terminal.wait_for("... ")
    typed(terminal, 'of France?"""', "tok/s]")
    typed(terminal, f"/save {tmp_path / 'chat.json'}", "Kept in")
    messages = json.loads((tmp_path / "chat.json").read_text())["messages"]
    assert [message["content"] for message in messages if message["role"] == "user"] == [
        "What is the capital of Japan?\nAnd which country is it in?",
        "What is the capital\nof France?",
    ]
    assert "Paris" in messages[-1]["content"]


def test_a_chat_is_kept_loaded_and_regenerated(terminal, tmp_path):
    kept = tmp_path / "a chat.json"
    typed(terminal, "/system Answer in one word.", "System message: Answer in one word.")
    typed(terminal, "What is the capital of Japan?", "tok/s]")
    typed(terminal, f"/save {kept}", "Kept in")
    typed(terminal, "/regen", "tok/s]")
    typed(terminal, "/reset", "forgotten")
    typed(terminal, "/regen", "no message to reply to")
    typed(terminal, f"/load {kept}", "2 messages")
    typed(terminal, f"/save {kept}", "Kept in")
    messages = json.loads(kept.read_text())["messages"]
    assert [message["role"] for message in messages] == ["system", "user", "assistant"]
    assert "Tokyo" in messages[-1]["content"]


def test_what_cannot_be_kept_or_loaded_costs_a_line(terminal, tmp_path):
    (tmp_path / "notes.txt").write_text("my notes")
    (tmp_path / "list.json").write_text('[{"role": "user"}]')
    typed(terminal, f"/save {tmp_path / 'notes.txt'}", "notes.txt is no saved chat")
    typed(terminal, f"/load {tmp_path / 'list.json'}", "messages[0] does not have a role")
    typed(terminal, "/load /no/such/file", "cannot read the chat")
    typed(terminal, f"/save {tmp_path / 'none' / 'x.json'}", "No such file or directory")
    typed(terminal, "/save", "wants a file")
    assert (tmp_path / "notes.txt").read_text() == "my notes"


def test_settings(terminal):
    typed(terminal, "/set temperature 0.5", "temperature 0.5")
    typed(terminal, "/set max-tokens 3", "max-tokens 3")
    place = typed(terminal, "/set", "thoughts default")
    assert "temperature 0.5" in terminal.screen[:place]
    assert "max_tokens 3" in terminal.screen[:place]
    typed(terminal, "/set top_p 7", "top_p is 7.0, expected a number from")
    typed(terminal, "/set colour red", "no setting 'colour'")
    typed(terminal, "/set think on", "no switch for thinking")
    typed(terminal, "Write a story.", "cut after 3 tokens")


def test_the_history_lasts(smollm2_path):
    command = [*COMMAND, "chat", str(smollm2_path)]
    with Terminal(command) as first:
        first.wait_for("> ")
        typed(first, "/set seed 4", "seed 4")
        typed(first, f"{PASTE_BEGIN}/set colour\nred{PASTE_END}", "no setting")
        first.type(CTRL_D)
        assert first.exit_code() == 0
    with Terminal(command) as second:
        place = second.wait_for("> ")
        second.type("\x1b[A")  # up
        place = second.wait_for("/set colour", after=place, timeout=30)
        second.type("\x1b[A")
        second.wait_for("seed 4", after=place, timeout=30)  # redrawn where it differs
        second.type(CTRL_C)
        second.type(CTRL_D)


def test_a_long_history_is_cut_down_and_what_is_no_history_passed_over(tiny):
    file = state_directory() / "chat_history.jsonl"
    file.parent.mkdir(parents=True)
    file.write_text("no JSON\n" + "".join(f'"message {place}"\n' for place in range(2500)))
    with Terminal([*COMMAND, "chat", str(tiny.path)]) as terminal:
        place = terminal.wait_for("> ")
        terminal.type("\x1b[A")
        terminal.wait_for("message 2499", after=place, timeout=30)
        terminal.type("\x15/exit\r")  # Ctrl-U empties the line
        assert terminal.exit_code() == 0
    lines = file.read_text().splitlines()
    assert (len(lines), lines[0], lines[-1]) == (1001, '"message 1500"', '"/exit"')
    assert file.stat().st_mode & 0o777 == 0o600


def test_ctrl_c_while_a_long_message_is_read(smollm2_path):
    with Terminal([*COMMAND, "chat", str(smollm2_path), "-n", "5", "--threads", "1"]) as terminal:
        terminal.wait_for("> ")
        terminal.type("word " * 4000 + "\r")
        place = terminal.wait_for("reading the prompt")
        began = time.monotonic()
        terminal.type(CTRL_C)
        place = terminal.wait_for("[stopped]", after=place)
        assert time.monotonic() - began < 3  # tenths of a second on a machine that does nothing else
        typed(terminal, "Say hello.", "tok/s]")
        terminal.type(CTRL_D)
        assert terminal.exit_code() == 0
        assert "Traceback" not in terminal.screen


def test_lines_from_a_pipe_are_answered_without_prompts(lutmac, tiny):
    result = lutmac("chat", tiny.path, "--temperature", 0, "--max-tokens", 8, stdin="Hello\n\n/reset\nHello\n")
    assert result.returncode == 0
    assert result.stderr == "[cut after 8 tokens: --max-tokens]\n" * 2
    before, _, after = result.stdout.partition("The conversation is forgotten.\n")
    assert before == after
    assert before.strip()


def test_a_turn_that_does_not_fit_leaves_the_session_alive(lutmac, tiny):
    result = lutmac("chat", tiny.path, "--context", 128, "--max-tokens", 8, stdin="word " * 300 + "\nHello\n")
    assert result.returncode == 0
    assert result.stderr.count("lutmac: error:") == 1
    assert "--context 512 is the model's own" in result.stderr
    assert result.stdout.strip()


def test_a_full_context_drops_the_oldest_turns(lutmac, tiny, tmp_path):
    kept = tmp_path / "chat.json"
    lines = [f"This is message number {place} of a chat." for place in range(6)]
    result = lutmac("chat", tiny.path, "--context", 160, "--max-tokens", 8, stdin="\n".join([*lines, f"/save {kept}"]))
    assert result.returncode == 0
    assert "lutmac: error:" not in result.stderr
    assert "the model no longer sees the oldest 2 of 3 messages" in result.stderr or "oldest 4" in result.stderr
    assert len(json.loads(kept.read_text())["messages"]) == 12  # all that was said
