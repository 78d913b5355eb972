# /// script
# dependencies = ["torch==2.13.0", "---", "guidellm==0.8.1"]
# ///
"""guidellm: a short benchmark of streams, with prompts and a tokenizer that lie here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from checks import MODEL, URL, check

TOKENS = 8
prompts = ["Say hello.", "Count to five.", "Name a colour."]
data, report = Path("prompts.jsonl"), Path("report.json")
data.write_text("".join(json.dumps({"prompt": text, "output_tokens_count": TOKENS}) + "\n" for text in prompts))
command = [
    *(Path(sys.executable).with_name("guidellm"), "run", "--disable-console"),
    *("--backend", f"kind=openai_http,target={URL},model={MODEL}"),
    *("--profile", "kind=synchronous", "--constraint", f"kind=max_requests,count={len(prompts)}"),
    *("--tokenizer", f"kind=huggingface_auto,model={os.environ['LUTMAC_TOKENIZER']}"),
    *("--data", f"kind=json_file,path={data}", "--output", f"kind=json,path={report}"),
]
done = subprocess.run(command, capture_output=True, text=True, check=False)
check("guidellm ends well", done.returncode == 0, done.stderr[-2000:])
requests = json.loads(report.read_text())["benchmarks"][0]["requests"]
check("no request failed", not requests["errored"] and not requests["incomplete"], str(requests["errored"])[:1000])
check("all requests were measured", len(requests["successful"]) == len(prompts), len(requests["successful"]))
for item in requests["successful"]:
    counted = item["output_metrics"]["text_tokens"] if "output_metrics" in item else item["output_tokens"]
    check("the tokens asked for were counted", counted == TOKENS, item)
