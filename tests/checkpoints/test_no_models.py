"""Files that go with a model and are none: called what they are."""

from __future__ import annotations

from pathlib import Path

import pytest
from handmade_gguf import ARCHITECTURE, STRING, entry, gguf_bytes

import lutmac
from lutmac.cli.main import run_command
from lutmac.errors import UnsupportedModelError


@pytest.mark.parametrize(
    ("kind", "said"), [("adapter", "LoRA adapter"), ("mmproj", "projector"), ("imatrix", "matrix")]
)
def test_a_gguf_file(kind: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "file.gguf"
    path.write_bytes(gguf_bytes([ARCHITECTURE, entry("general.type", STRING, kind)]))
    with pytest.raises(UnsupportedModelError, match=rf"file\.gguf: is .*{said}"):
        lutmac.load(path)
    for command in (["run", str(path), "Hello"], ["info", str(path)], ["convert", str(path), str(tmp_path / "out")]):
        assert run_command(command) == 2
        assert capsys.readouterr().err.startswith(f"lutmac: error: {path}: is ")


def test_a_directory_of_an_adapter(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(UnsupportedModelError, match="is a LoRA adapter"):
        lutmac.load(tmp_path)
