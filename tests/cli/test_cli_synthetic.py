"""`lutmac bench` without a file: random weights, and the products alone."""

import json

import pytest

from lutmac.engine.measuring.synthetic import SHAPES, TIED, SyntheticSpec
from lutmac.errors import InvalidRequestError
from lutmac.graph.passes import optimize

QUICK = ["--threads", "1,2", "--prompt-tokens", 4, "--decode-tokens", 2, "--repeat", 1]


def test_random_weights_of_several_widths(lutmac, tmp_path):
    options = ["--layers", 1, "--bits", "1,2,4", "--group-size", 64, "--streams", 2]
    saved = tmp_path / "report.json"
    result = lutmac(
        "bench", "--synthetic", "smollm2-135m", *QUICK, *options, "--json", "--output", saved, "--plot", tmp_path
    )
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert json.loads(saved.read_text()) == report
    assert [model["bits"] for model in report["models"]] == [1, 2, 4]
    sizes = [model["bytes_per_token"] for model in report["models"]]
    assert sizes == sorted(sizes)
    for model in report["models"]:
        assert {entry["phase"] for entry in model["entries"]} == {"prefill", "decode"}
        decode = [entry for entry in model["entries"] if entry["phase"] == "decode"]
        assert all(entry["bytes_read_per_token"] > model["bytes_per_token"] for entry in decode)
        assert {(rate["streams"], rate["threads"]) for rate in model["streams"]} == {(1, 1), (2, 1), (1, 2), (2, 2)}
    assert [fit["threads"] for fit in report["time_per_token_by_bits"]] == [1, 2]
    assert (tmp_path / "tokens_by_bits.png").read_bytes().startswith(b"\x89PNG")


def test_one_width_is_reported_as_a_model_is(lutmac):
    result = lutmac(
        "bench", "--synthetic", "smollm2-135m", "--layers", 1, "--bits", 3, "--group-size", 0, *QUICK, "--json"
    )
    report = json.loads(result.stdout)
    assert "3-bit, one scale per row" in report["model"]
    assert all("fraction_of_memory_read" in e for e in report["entries"] if e["phase"] == "decode")


def test_ternary_weights_by_their_groups(lutmac):
    options = ["--synthetic", "smollm2-135m", "--layers", 1, "--bits", "ternary,ptq1_0,tq1_0"]
    report = json.loads(lutmac("bench", *options, *QUICK, "--json").stdout)
    assert [model["bits"] for model in report["models"]] == [1.625] * 3
    assert "ternary, group 128, 1 of 30 layers" in report["models"][1]["model"]


def test_fewer_layers_where_memory_is_short():
    """Bonsai 2 27B at 1.75 bits: 5.9 GB, or as many of its runs of four layers as fit."""
    spec = SyntheticSpec("bonsai2-27b", 2, 128, ternary=True)
    assert spec.fitting(memory=16 << 30) == spec
    assert 16 < spec.fitting(memory=4 << 30).layers < 40
    assert spec.fitting(memory=4 << 30).layers % 4 == 0
    assert "of 64 layers" in spec.fitting(memory=4 << 30).name
    with pytest.raises(InvalidRequestError, match="with 4 layers, more than is free"):
        spec.fitting(memory=1 << 20)


def test_bonsai_is_rotated_in_front_of_its_products():
    """Four rotations a layer, one of the head's input, and one of what is looked up."""
    config = SyntheticSpec("bonsai2-27b", 2, 128, ternary=True).config
    names = [op.name() for op in SHAPES["bonsai2-27b"].graph(config).ops]
    assert names.count("hadamard") == 64 * 4 + 1 + 1
    assert len(config.rotation.weights) >= 401


def test_mistakes_get_one_line(lutmac):
    for arguments, named in (
        (["--synthetic", "llama-9"], "llama-2-7b"),
        (["--synthetic", "llama-2-7b", "--bits", "9"], "9"),
        (["--synthetic", "llama-2-7b", "--group-size", 48], "48"),
        (["--synthetic", "smollm2-135m", "--context", 10**6], "8192"),
        (["smollm2", "--synthetic", "llama-2-7b"], "--synthetic"),
        ([], "--synthetic"),
        (["kernels", "--bits", "0"], "--bits"),
        (["kernels", "--bits", "9"], "--bits 9"),
        (["kernels", "--bits", "2,mxfp3"], "mxfp3"),
    ):
        result = lutmac("bench", *arguments)
        assert result.returncode == 2, arguments
        assert named in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_a_graph_that_holds_together(shape):
    """The passes verify it; five layers have all kinds of layers that there are. No weight is made."""
    config = SyntheticSpec(shape, bits=4, group_size=32, layers=5).config
    graph = SHAPES[shape].graph(config)
    assert optimize(graph, exact=True).calls
    assert "lm_head.weight" in graph.weights() or shape in TIED
    assert any(name.endswith(".bias") for name in graph.vectors()) == (shape == "gpt-oss-20b")


def test_trace_of_what_each_thread_did(lutmac, tmp_path):
    """Chrome's trace format: operations and waits lie within their thread's step, one after another."""
    path = tmp_path / "trace.json"
    options = ["--synthetic", "smollm2-135m", "--layers", 2, "--bits", 2, "--context", 3]
    result = lutmac("bench", *options, *QUICK, "--trace", path, "--json")
    assert result.returncode == 0, result.stderr
    events = json.loads(path.read_text())["traceEvents"]
    titles = [event["args"]["name"] for event in events if event["name"] == "process_name"]
    assert [title.partition(": ")[2] for title in titles] == [
        f"{phase}, {threads}" for threads in ("1 thread", "2 threads") for phase in ("prefill", "decode")
    ]
    complete = [event for event in events if event["ph"] == "X"]
    assert {"step", "wait", "embed", "matmul", "attention", "logits"} <= {event["name"] for event in complete}
    tokens = [[e["args"]["tokens"] for e in complete if e["cat"] == "step" and e["pid"] == pid] for pid in range(4)]
    assert set(tokens[0]) == {4}
    assert set(tokens[1]) == {1}  # the prompt of three tokens is left out
    for pid, threads in enumerate((1, 1, 2, 2)):
        for thread in range(threads):
            own = sorted((e for e in complete if (e["pid"], e["tid"]) == (pid, thread)), key=lambda e: e["ts"])
            ends = [0.0, 0.0]  # of the last step, of the last operation or wait
            for event in own:
                end = event["ts"] + event["dur"]
                if event["cat"] == "step":
                    assert event["ts"] >= ends[0]
                    ends = [end, event["ts"]]
                else:
                    assert ends[1] <= event["ts"] + 0.01
                    assert end <= ends[0] + 0.01
                    ends[1] = end
    shares = json.loads(result.stdout)["trace"]
    assert [(run["phase"], run["threads"]) for run in shares] == [
        ("prefill", 1), ("decode", 1), ("prefill", 2), ("decode", 2)
    ]  # fmt: skip
    for run in shares:
        assert 0.3 < sum(part["share"] + part["waiting"] for part in run["operations"]) <= 1.001


def test_a_trace_that_cannot_be_written_is_refused_at_once(lutmac, tmp_path):
    for path in (tmp_path / "none" / "trace.json", tmp_path):
        result = lutmac("bench", "--synthetic", "smollm2-135m", "--layers", 1, "--trace", path)
        assert (result.returncode, len(result.stderr.splitlines())) == (2, 1)
        assert "cannot write" in result.stderr
    assert "--trace goes with a model" in lutmac("bench", "kernels", "--trace", tmp_path / "x").stderr
