import json
import signal
import subprocess
import time

import pytest
from terminal import COMMAND, Terminal

GREEDY = ["--temperature", "0", "--max-tokens", "12"]


def test_a_reply_goes_to_stdout_and_its_figures_to_stderr(lutmac, smollm2_path):
    result = lutmac("run", smollm2_path, "What is the capital of France?", *GREEDY)
    assert result.returncode == 0
    assert "Paris" in result.stdout
    assert result.stderr.count("\n") == 1
    assert result.stderr.count("tok/s") == 2


def test_json_is_one_object_and_nothing_else(lutmac, smollm2_path):
    result = lutmac("run", smollm2_path, "What is the capital of France?", *GREEDY, "--json")
    assert result.returncode == 0
    assert result.stderr == ""
    report = json.loads(result.stdout)
    assert "Paris" in report["text"]
    assert 0 < report["generated_tokens"] <= 12
    assert report["prompt_tokens"] > 0
    assert report["decode_tokens_per_second"] > 0
    assert report["prefill_tokens_per_second"] > 0
    assert 0 < report["time_to_first_token_seconds"] < report["process_start_to_first_token_seconds"]


def test_raw_continues_the_text_itself(lutmac, smollm2_path):
    arguments = ["run", smollm2_path, "One, two, three, four,", *GREEDY, "--json"]
    raw, templated = (json.loads(lutmac(*arguments, *more).stdout) for more in (["--raw"], []))
    assert "five" in raw["text"]
    assert raw["prompt_tokens"] < templated["prompt_tokens"]


def test_a_dash_reads_the_prompt_from_stdin(lutmac, smollm2_path):
    prompt = "What is the capital of France?"
    as_word = lutmac("run", smollm2_path, prompt, *GREEDY)
    assert lutmac("run", smollm2_path, "-", *GREEDY, stdin=prompt).stdout == as_word.stdout


def test_the_system_message_is_heard(lutmac, smollm2_path):
    def prompt_tokens(*more: str) -> int:
        result = lutmac("run", smollm2_path, "Hi", "--max-tokens", 1, "--json", *more)
        return json.loads(result.stdout)["prompt_tokens"]

    assert prompt_tokens("--system", "Answer like a pirate. " * 20) > prompt_tokens("--system", "Hi") + 50


def test_the_same_seed_gives_the_same_text(lutmac, smollm2_path):
    arguments = ["run", smollm2_path, "Tell a story.", "--temperature", 1.5, "--max-tokens", 12, "--json"]
    texts = [json.loads(lutmac(*arguments, "--seed", seed).stdout)["text"] for seed in (7, 7, 8, 9)]
    assert texts[0] == texts[1]
    assert len(set(texts)) > 1


def test_a_stop_string_ends_the_reply(lutmac, smollm2_path):
    result = lutmac("run", smollm2_path, "One, two, three, four,", "--raw", *GREEDY, "--stop", "seven", "--json")
    report = json.loads(result.stdout)
    assert report["finish_reason"] == "stop"
    assert "six" in report["text"]
    assert "seven" not in report["text"]


def test_a_logit_bias_rules_a_token_in(lutmac, smollm2_path):
    forced = ["--logit-bias", "123=1000", "--max-tokens", "3", "--json"]
    report = json.loads(lutmac("run", smollm2_path, "Hello", "--raw", *forced).stdout)
    assert report["text"][: len(report["text"]) // 3] * 3 == report["text"]


def test_text_appears_while_it_is_written(smollm2_path):
    command = [*COMMAND, "run", str(smollm2_path), "Write a long story.", "--temperature", "0", "--max-tokens", "2000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read1()
        time.sleep(0.2)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in stderr


def test_a_closed_pipe_ends_it_without_a_word(smollm2_path):
    command = [*COMMAND, "run", str(smollm2_path), "Write a long story.", "--temperature", "0", "--max-tokens", "2000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read1()
        process.stdout.close()
        assert process.wait(timeout=60) == 141
        assert process.stderr.read() == b""


def test_on_a_terminal_the_reply_is_on_the_screen(smollm2_path):
    command = [*COMMAND, "run", str(smollm2_path), "What is the capital of France?", *GREEDY]
    with Terminal(command) as terminal:
        assert terminal.exit_code(timeout=120) == 0
        assert "Paris" in terminal.screen


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_do_not_change_the_reply(lutmac, smollm2_path, threads):
    report = json.loads(
        lutmac("run", smollm2_path, "Why is the sky blue?", *GREEDY, "--threads", threads, "--json").stdout
    )
    assert report["threads"] == threads
    assert (
        report["text"]
        == json.loads(lutmac("run", smollm2_path, "Why is the sky blue?", *GREEDY, "--json").stdout)["text"]
    )
