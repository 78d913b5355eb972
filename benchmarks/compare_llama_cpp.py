"""lutmac against llama.cpp on several files: one Markdown table, or JSON.

Example: python benchmarks/compare_llama_cpp.py smollm2 other.gguf --threads 1,2
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any


def compare(model: str, arguments: list[str]) -> dict[str, Any]:
    """What `lutmac bench --vs llama.cpp --json` says of one model."""
    command = [sys.executable, "-m", "lutmac.cli.main", "bench", model, "--vs", "llama.cpp", "--json", *arguments]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if result.returncode != 0:
        sys.exit(result.returncode)
    report: dict[str, Any] = json.loads(result.stdout)
    return report


def markdown_rows(model: str, report: dict[str, Any]) -> list[str]:
    """A row per phase and thread count."""
    rates = {(e["engine"], e["phase"], e["threads"]): e["tokens_per_second"] for e in report["entries"]}
    return [
        f"| {model} | {ratio['phase']} | {ratio['threads']} "
        f"| {rates['lutmac', ratio['phase'], ratio['threads']]:.1f} "
        f"| {rates['llama.cpp', ratio['phase'], ratio['threads']]:.1f} | {ratio['ratio']:.2f} |"
        for ratio in report["ratios"]
    ]


def main() -> None:
    """Measures each model in turn; arguments that are not models go to `lutmac bench`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="GGUF files or names that `lutmac pull` takes")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--repeat", default="5")
    parser.add_argument("--json", action="store_true", help="print the reports as one JSON object")
    options = parser.parse_args()
    arguments = ["--threads", options.threads, "--repeat", options.repeat]
    reports = {model: compare(model, arguments) for model in options.models}
    if options.json:
        print(json.dumps(reports, indent=2))
        return
    print("| model | phase | threads | lutmac, tokens/s | llama.cpp, tokens/s | ratio |")
    print("| --- | --- | --- | --- | --- | --- |")
    for model, report in reports.items():
        print("\n".join(markdown_rows(model, report)))


if __name__ == "__main__":
    main()
