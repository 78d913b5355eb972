import json
import re
from pathlib import Path

import numpy as np
import pytest

from lutmac import _native


def test_what_a_person_wants_to_know(lutmac, smollm2_path):
    result = lutmac("info", smollm2_path)
    assert result.returncode == 0
    assert result.stderr == ""
    for words in (
        "llama",
        "134.5 million",
        "Q4_1",
        "F32",
        "5.74 bits",
        "8192",
        "ISA target",
        "98.4 MB",
        "packed weights",
        "188.7 MB for a sequence of 8192 tokens; room for 8 (1.51 GB), taken as it is used",
        "mean (the file does not say), normalized",
    ):
        assert words in result.stdout


def test_json(lutmac, smollm2_path):
    result = lutmac("info", smollm2_path, "--json", "--context", 1024)
    assert result.stderr == ""
    report = json.loads(result.stdout)
    assert report["architecture"] == "llama"
    assert report["problem"] is None
    assert 4 < report["bits_per_weight"] < 7
    assert sum(kind["tensors"] for kind in report["types"]) == len(report["tensors"]) == 272
    assert report["loaded"]["context"] == 1024
    assert report["loaded"]["full_sequences"] == 8
    assert report["loaded"]["embedding"]["pooling"] == ["mean"]
    bits = {kind["type"]: (kind["bits_per_weight"], kind["bits_in_memory"]) for kind in report["types"]}
    assert bits["Q4_1"] == (5.0, pytest.approx(5.0, rel=0.1))  # rows come in tiles
    assert bits["F32"] == (32.0, None)
    assert report["loaded"]["isa"] in _native.available_targets()
    assert 50e6 < report["loaded"]["bytes_per_token"] <= report["loaded"]["weight_bytes"] < 150e6


def test_the_program_is_one_page(lutmac, smollm2_path):
    result = lutmac("info", smollm2_path, "--program")
    assert result.returncode == 0
    assert 10 < len(result.stdout.splitlines()) < 60
    for words in ("attention", "matmul", "norm", "logits", "layers 0"):
        assert words in result.stdout


def test_every_tensor_can_be_listed(lutmac, smollm2_path):
    lines = lutmac("info", smollm2_path, "--tensors").stdout.splitlines()
    assert sum("blk." in line for line in lines) == 270


@pytest.fixture
def unsupported(tmp_path):
    gguf = pytest.importorskip("gguf", reason="writes the file that this test reads")
    path = tmp_path / "unsupported.gguf"
    writer = gguf.GGUFWriter(path, "mamba9")
    writer.add_name("A model of the future")

    writer.add_tensor("x", np.zeros((4, 292), np.uint8), raw_dtype=gguf.GGMLQuantizationType.Q8_K)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_file_that_cannot_be_run_is_described_all_the_same(lutmac, unsupported):
    result = lutmac("info", unsupported)
    assert result.returncode == 0
    for words in ("A model of the future", "mamba9", "Q8_K", "cannot be run"):
        assert words in result.stdout


def test_json_of_a_file_that_cannot_be_run_says_why(lutmac, unsupported):
    report = json.loads(lutmac("info", unsupported, "--json").stdout)
    assert "mamba9" in report["problem"]
    assert report["loaded"] is None


def test_there_is_no_program_of_a_file_that_cannot_be_run(lutmac, unsupported):
    result = lutmac("info", unsupported, "--program")
    assert result.returncode == 2
    assert "mamba9" in result.stderr


def test_snapshots_of_states_of_fixed_size(lutmac, smollm2_path):
    """Three convolutions of 64 channels keep two positions each; a model of pages alone has none."""
    path = Path(__file__).parents[1] / "models" / "converted" / "lfm2.gguf"
    result = lutmac("info", path, "--context", 512)
    assert re.search(r"^snapshots +1\.5 kB each, \d+ \(\S+ kB\) less those of sequences that run$", result.stdout, re.M)
    assert re.search(r"^states +1\.5 kB for each sequence that runs$", result.stdout, re.M)
    loaded = json.loads(lutmac("info", path, "--context", 512, "--json").stdout)["loaded"]
    assert loaded["slot_bytes"] == 3 * 64 * 2 * 4
    assert loaded["num_slots"] > 16
    assert "snapshots" not in lutmac("info", smollm2_path).stdout
