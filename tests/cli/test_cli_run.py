import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from terminal import COMMAND, Terminal, hear_ctrl_c

from lutmac.cli.model_words import names_model

GREEDY = ["--temperature", "0", "--max-tokens", "6"]
CAPITAL = "The capital of France is"
STORY = ["Once", "--raw", "--temperature", "0", "--max-tokens", "4000"]


def test_a_reply_goes_to_stdout_and_its_figures_to_stderr(lutmac, smollm2_path):
    result = lutmac("run", smollm2_path, "What is the capital of Japan?", "--temperature", 0, "--max-tokens", 8)
    assert result.returncode == 0
    assert result.stdout == "The capital of Japan is Tokyo.\n"
    assert result.stderr.splitlines()[1:] in ([], ["[cut after 8 tokens: --max-tokens]"])
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


def test_what_is_piped_in_and_files_stand_behind_the_prompt(lutmac, tiny, tmp_path):
    (tmp_path / "notes.txt").write_text("notes\n")
    whole = lutmac("run", tiny.path, "-", "--raw", *GREEDY, stdin="Hello\n\nnotes\n\n\nmore")
    words = ["run", tiny.path, "Hello", "--file", tmp_path / "notes.txt", "--raw", *GREEDY]
    assert whole.stdout.strip()
    assert lutmac(*words, stdin="more").stdout == whole.stdout
    assert lutmac("run", tiny.path, "--raw", *GREEDY, stdin="Hello").stdout.strip()


def test_a_pipe_that_nobody_writes_to_is_named(tiny):
    command = [*COMMAND, "run", str(tiny.path), "Hello", *GREEDY]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        assert process.stderr.readline() == b"lutmac: waiting for the end of standard input; </dev/null leaves it out\n"
        process.stdin.close()
        assert process.wait(timeout=60) == 0


@pytest.mark.parametrize(
    "word",
    [
        "smollm2",
        "hf:Qwen/Qwen3-0.6B",
        "Qwen/Qwen3-0.6B",
        "qwen3:0.6b",
        "llama9:1b",
        "smolm2",
        "/no/model.gguf",
        "tests",
    ],
)
def test_what_names_a_model(word):
    assert names_model(word)


@pytest.mark.parametrize("word", ["Hello", "Hi: there", "What is and/or?", "", "Why", "note:this", "x" * 5000, "a\0b"])
def test_what_is_a_prompt(word):
    assert not names_model(word)


@pytest.mark.parametrize(
    ("word", "message"),
    [("Qwen/Qwen3-0.6B", "hf:Qwen/Qwen3-0.6B is how"), ("smolm2", "unknown model 'smolm2'")],
)
def test_a_lone_model_is_no_prompt(lutmac, word, message):
    result = lutmac("run", word, stdin="Hello")
    assert (result.returncode, result.stdout) == (2, "")
    assert message in result.stderr


def test_a_lone_path_gets_its_prompt_from_the_pipe(lutmac, tiny, tmp_path):
    result = lutmac("run", tiny.path, *GREEDY, "--json", stdin="Hello\n")
    word = lutmac("run", tiny.path, "Hello", *GREEDY, "--json")
    assert json.loads(result.stdout)["text"] == json.loads(word.stdout)["text"]
    (tmp_path / "notes.txt").write_text("notes")
    refused = lutmac("run", tmp_path / "notes.txt", stdin="Hello")
    assert refused.returncode == 2
    assert f"--file {tmp_path / 'notes.txt'} makes it a part of the prompt" in refused.stderr


def test_a_lone_model_on_a_terminal_opens_a_chat(tiny):
    with Terminal([*COMMAND, "run", str(tiny.path), *GREEDY]) as terminal:
        terminal.wait_for("> ")
        assert f"{tiny.path.name}: llama" in terminal.screen
        terminal.type("/exit\r")
        assert terminal.exit_code() == 0
    with Terminal([*COMMAND, "run", str(tiny.path), "--json"]) as terminal:
        assert terminal.exit_code() == 2
        assert "--json needs a PROMPT" in terminal.screen


def test_the_figures_name_the_model_and_a_cut_is_told(lutmac, smollm2_path, tiny):
    whole = lutmac("run", smollm2_path, "Say hello.", "--temperature", 0)
    assert whole.stderr.startswith(f"[{smollm2_path.resolve().name}: ")
    assert "cut" not in whole.stderr
    cut = lutmac("run", tiny.path, "Hello", "--raw", *GREEDY)
    assert "[cut after 6 tokens: --max-tokens]\n" in cut.stderr
    full = lutmac("run", tiny.path, "Hello", "--raw", "--temperature", 0, "--context", 100, "--logit-bias", "120=1000")
    assert full.stdout == "x" * 95 + "\n"
    assert "[cut: the context of 100 tokens is full (--context 512 is the model's own)]\n" in full.stderr


def test_thoughts_are_dim_on_a_terminal_and_no_part_of_the_text(lutmac, smollm2_path):
    pytest.importorskip("llguidance", reason="holds a model that does not think to a reply with thoughts")
    words = ["run", str(smollm2_path), "Hi", "--regex", "<think>\\nOne two</think>\\n\\nThree"]
    assert lutmac(*words, "--thoughts").stdout == "<think>\nOne two\n</think>\n\nThree\n"
    found = json.loads(lutmac(*words, "--json").stdout)
    assert (found["thoughts"], found["text"]) == ("One two", "Three")
    with Terminal([*COMMAND, *words]) as terminal:
        assert terminal.exit_code() == 0
        assert "\x1b[2mOne two\x1b[0m\r\n\r\nThree\r\n" in terminal.screen
    with Terminal([*COMMAND, *words, "--no-thoughts"]) as terminal:
        assert terminal.exit_code() == 0
        assert "One" not in terminal.screen


@pytest.mark.slow
def test_a_reply_can_be_held_to_a_form(lutmac, smollm2_path, tmp_path):
    pytest.importorskip("llguidance", reason="grammars are an extra")
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    schema["additionalProperties"] = False
    (tmp_path / "schema.json").write_text(json.dumps(schema))
    (tmp_path / "grammar.gbnf").write_text('root ::= "yes" | "no"\n')
    run = ["run", smollm2_path, "Is water wet?"]
    assert type(json.loads(lutmac(*run, "--json-schema", json.dumps(schema)).stdout)["ok"]) is bool
    assert type(json.loads(lutmac(*run, "--json-schema", tmp_path / "schema.json").stdout)["ok"]) is bool
    assert lutmac(*run, "--grammar", tmp_path / "grammar.gbnf").stdout in ("yes\n", "no\n")
    assert lutmac(*run, "--choice", "yes", "--choice", "no").stdout in ("yes\n", "no\n")
    assert lutmac(*run, "--raw", "--regex", "[xy]{3}").stdout.strip("xy") == "\n"


def test_a_chat_needs_nothing_of_the_server(tiny):
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('fastapi', 'pydantic', 'uvicorn', 'llguidance')));"
        "from lutmac.cli.main import run_command; sys.exit(run_command(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "run", str(tiny.path), "Hello", *GREEDY]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    refused = subprocess.run([*command, "--regex", "a"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert b"pip install 'lutmac[server]'" in refused.stderr


def test_reading_a_long_prompt_shows_how_far_it_is(smollm2_path, tmp_path):
    (tmp_path / "long.txt").write_text("word " * 1000)
    words = ["Hi", "--file", str(tmp_path / "long.txt"), "-n", "2", "--threads", "1"]
    with Terminal([*COMMAND, "run", str(smollm2_path), *words]) as terminal:
        assert terminal.exit_code() == 0
        found = re.findall(r"reading the prompt .*?(\d+)%", terminal.screen)
        assert found
        assert any(0 < int(percent) < 100 for percent in found)


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


def test_a_full_disk_is_one_line(tiny):
    with Path("/dev/full").open("w") as full:
        command = [*COMMAND, "run", str(tiny.path), "Hello", *GREEDY]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": full, "stderr": subprocess.PIPE}
        result = subprocess.run(command, **pipes, text=True, check=False)
    assert (result.returncode, result.stderr) == (
        2,
        "lutmac: error: cannot write the output: No space left on device\n",
    )


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
