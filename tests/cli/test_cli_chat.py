import pytest
from terminal import COMMAND, CTRL_C, CTRL_D, Terminal

LONG = "Write a very long story about a ship.\r"


@pytest.fixture
def terminal(smollm2_path):
    command = [*COMMAND, "chat", str(smollm2_path), "--temperature", "0", "--max-tokens", "100"]
    with Terminal(command) as terminal:
        terminal.wait_for("> ")
        yield terminal


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


def test_lines_from_a_pipe_are_answered_without_prompts(lutmac, tiny):
    result = lutmac("chat", tiny.path, "--temperature", 0, "--max-tokens", 8, stdin="Hello\n\n/reset\nHello\n")
    assert result.returncode == 0
    assert result.stderr == ""
    before, _, after = result.stdout.partition("The conversation is forgotten.\n")
    assert before == after
    assert before.strip()


def test_a_turn_that_does_not_fit_leaves_the_session_alive(lutmac, tiny):
    result = lutmac("chat", tiny.path, "--context", 128, "--max-tokens", 8, stdin="word " * 300 + "\nHello\n")
    assert result.returncode == 0
    assert result.stderr.count("lutmac: error:") == 1
    assert result.stdout.strip()
