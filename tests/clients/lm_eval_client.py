# /// script
# dependencies = ["lm_eval[api]==0.4.13"]
# ///
"""lm-evaluation-harness: a task of log-likelihoods and one of generated text, over local files."""

from __future__ import annotations

import json
from pathlib import Path

import lm_eval
from checks import BASE, MODEL, check, expected
from lm_eval.tasks import TaskManager

CHOICES = """
task: {task}
dataset_path: json
dataset_kwargs:
  data_files: {{test: {data}}}
test_split: test
"""
LOGLIKELIHOOD = (
    CHOICES
    + """
output_type: multiple_choice
doc_to_text: "{{{{context}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: 0
target_delimiter: ""
metric_list: [{{metric: acc}}]
"""
)
GENERATE = (
    CHOICES
    + """
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
generation_kwargs: {{until: ["\\n"], max_gen_toks: 16, temperature: 0, do_sample: false}}
metric_list: [{{metric: exact_match, ignore_case: true, ignore_punctuation: true}}]
"""
)


def write_task(name: str, text: str, rows: list[dict[str, object]]) -> None:
    """A task's file, and the local JSON that it reads."""
    data = Path(f"{name}.jsonl").resolve()
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path(f"{name}.yaml").write_text(text.format(task=name, data=data))


known = expected()["continuations"]
rows = [{"context": row["context"], "choices": [row["continuation"], " zzz"]} for row in known]
write_task("local_choices", LOGLIKELIHOOD, rows)
write_task("local_text", GENERATE, [{"question": "1, 2, 3, 4, 5,", "answer": "6, 7, 8, 9, 10"}])
found = lm_eval.simple_evaluate(
    model="local-completions",
    model_args={
        "model": MODEL,
        "base_url": f"{BASE}/completions",
        "tokenizer_backend": "remote",
        "num_concurrent": 1,
        "max_retries": 1,
        "tokenized_requests": False,
        "max_length": 2048,
    },
    tasks=["local_choices", "local_text"],
    task_manager=TaskManager(include_path=str(Path.cwd()), include_defaults=False),
    log_samples=True,
    bootstrap_iters=0,
)
for row, sample in zip(known, sorted(found["samples"]["local_choices"], key=lambda item: item["doc_id"]), strict=True):
    logprob, greedy = sample["filtered_resps"][0]
    what = f"log-likelihood of {row['continuation']!r}"
    check(f"{what} is within 1e-3 of Model.logits", abs(float(logprob) - row["logprob"]) <= 1e-3, (logprob, row))
    check(f"{what}: whether it is greedy", str(greedy) == str(row["greedy"]), (greedy, row))
text = found["samples"]["local_text"][0]["filtered_resps"][0]
check("generate_until continues the text", text.strip().startswith("6, 7, 8"), text)
