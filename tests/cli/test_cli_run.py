import json
import signal
import subprocess
import time

import pytest
from terminal import COMMAND, Terminal, hear_ctrl_c

GREEDY = ["--temperature", "0", "--max-tokens", "6"]
CAPITAL = "The capital of France is"
STORY = ["Once", "--raw", "--temperature", "0", "--max-tokens", "4000"]


def test_a_reply_goes_to_stdout_and_its_figures_to_stderr(lutmac, smollm2_path):
    result = lutmac("run", smollm2_path, "What is the capital of Japan?", "--temperature", 0, "--max-tokens", 8)
    assert result.returncode == 0
    assert result.stdout == "The capital of Japan is Tokyo.\n"
    assert result.stderr.count("\n") == 1
    assert result.stderr.count("tok/s") == 2


def test_json_is_one_object_and_nothing_else(lutmac, smollm2_path):
    result = lutmac("run", smollm2_path, CAPITAL, "--raw", *GREEDY, "--json")
    assert result.returncode == 0
    assert result.stderr == ""
    report = json.loads(result.stdout)
    assert "Paris" in report["text"]
    assert report["prompt_tokens"] == 5
    assert 0 < report["generated_tokens"] <= 6
    assert report["decode_tokens_per_second"] > 0
    assert report["prefill_tokens_per_second"] > 0
    assert 0 < report["time_to_first_token_seconds"] < report["process_start_to_first_token_seconds"]


def test_raw_takes_the_prompt_as_it_is_and_otherwise_a_chat_is_made_of_it(lutmac, tiny):
    def prompt_tokens(*more: str) -> int:
        return json.loads(lutmac("run", tiny.path, "Hello", *GREEDY, "--json", *more).stdout)["prompt_tokens"]

    raw, chat, system = prompt_tokens("--raw"), prompt_tokens(), prompt_tokens("--system", "Answer like a pirate. " * 3)
    assert raw == len("Hello")  # this model has a token for each byte
    assert raw < chat < system


def test_a_dash_reads_the_prompt_from_stdin(lutmac, tiny):
    as_word = lutmac("run", tiny.path, "Hello", "--raw", *GREEDY)
    assert as_word.stdout.strip()
    assert lutmac("run", tiny.path, "-", "--raw", *GREEDY, stdin="Hello").stdout == as_word.stdout


def test_a_byte_order_mark_before_the_prompt_is_no_part_of_it(lutmac, tiny):
    as_word = lutmac("run", tiny.path, "Hello", "--raw", *GREEDY)
    assert lutmac("run", tiny.path, "-", "--raw", *GREEDY, stdin="\ufeffHello").stdout == as_word.stdout
    assert lutmac("run", tiny.path, "-", "--raw", *GREEDY, stdin="\ufeff").returncode != 0  # an empty prompt


def test_the_same_seed_gives_the_same_text(lutmac, tiny):
    arguments = ["run", tiny.path, "Hello", "--raw", "--temperature", 1.5, "--max-tokens", 12, "--json"]
    texts = [json.loads(lutmac(*arguments, "--seed", seed).stdout)["text"] for seed in (7, 7, 8)]
    assert texts[0] == texts[1] != texts[2]


def test_a_stop_string_ends_the_reply(lutmac, smollm2_path):
    counting = ["One, two, three, four,", "--raw", "--temperature", 0, "--max-tokens", 20]
    report = json.loads(lutmac("run", smollm2_path, *counting, "--stop", "seven", "--json").stdout)
    assert report["finish_reason"] == "stop"
    assert report["text"] == " five, six, "


def test_a_logit_bias_rules_a_token_in(lutmac, tiny):
    forced = ["--logit-bias", f"{ord('x')}=1000", "--max-tokens", "3", "--json"]
    assert json.loads(lutmac("run", tiny.path, "Hello", "--raw", *forced).stdout)["text"] == "xxx"


def test_text_appears_while_it_is_written_and_ctrl_c_ends_it(smollm2_path):
    command = [*COMMAND, "run", str(smollm2_path), *STORY]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, preexec_fn=hear_ctrl_c) as process:  # noqa: PLW1509 - the only thread
        assert process.stdout is not None
        assert process.stdout.read1()
        time.sleep(0.2)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in stderr


def test_a_closed_pipe_ends_it_without_a_word(smollm2_path):
    command = [*COMMAND, "run", str(smollm2_path), *STORY]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read1()
        process.stdout.close()
        assert process.wait(timeout=60) == 141
        assert process.stderr.read() == b""


def test_on_a_terminal_the_reply_is_on_the_screen(smollm2_path):
    with Terminal([*COMMAND, "run", str(smollm2_path), CAPITAL, "--raw", *GREEDY]) as terminal:
        assert terminal.exit_code(timeout=120) == 0
        assert "Paris" in terminal.screen


def test_threads_do_not_change_the_reply(lutmac, tiny):
    arguments = ["run", tiny.path, "Hello", "--raw", "--temperature", 0, "--max-tokens", 50, "--json"]
    reports = {threads: json.loads(lutmac(*arguments, "--threads", threads).stdout) for threads in (1, 2)}
    assert {threads: report["threads"] for threads, report in reports.items()} == {1: 1, 2: 2}
    assert reports[1]["text"] == reports[2]["text"]


@pytest.mark.parametrize("isa", ["portable"])
def test_an_isa_can_be_forced(lutmac, tiny, monkeypatch, isa):
    monkeypatch.setenv("LUTMAC_ISA", isa)
    assert json.loads(lutmac("run", tiny.path, "Hello", "--raw", *GREEDY, "--json").stdout)["isa"] == isa
