import re
import subprocess
import sys

import pytest

COMMANDS = [
    ["run"],
    ["chat"],
    ["serve"],
    ["batch"],
    ["info"],
    ["pull"],
    ["convert"],
    ["quantize"],
    ["bench"],
    ["rm"],
    ["eval"],
    ["eval", "ppl"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself_with_an_example(lutmac, command):
    result = lutmac(*command, "--help")
    assert result.returncode == 0
    assert re.search(rf"Example:\s+lutmac {' '.join(command)} \w", result.stdout)
    assert result.stderr == ""


def test_without_a_command_the_commands_are_listed(lutmac):
    result = lutmac()
    assert result.returncode == 0
    for command in COMMANDS:
        assert re.search(rf"^  {command[0]} ", result.stdout, re.MULTILINE)


def test_version(lutmac):
    result = lutmac("--version")
    assert result.returncode == 0
    assert re.fullmatch(r"lutmac \d+\.\d+\.\d+\S*\n", result.stdout)


def test_help_imports_neither_the_engine_nor_rich():
    code = (
        "import sys; from lutmac.cli.main import run_command; run_command(['run', '--help']);"
        "print([m for m in ('numpy', 'rich', 'tokenizers', 'jinja2', 'lutmac.cli.serve', 'lutmac.cli.bench')"
        " if m in sys.modules], file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stderr.strip() == "[]"
