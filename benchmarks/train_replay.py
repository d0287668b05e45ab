"""What replay prevents: a small model that goes on to another kind of text, with and without replay of what it read before.

    python benchmarks/train_replay.py DATA [-o runs/replay] [--fractions 0 0.1 0.3] [--general 1.5e6] [--domain 0.75e6] [--json OUT]

DATA is the folder of development data. Stage general reads Korean news, petitions and encyclopedia and English government pages; stage
domain goes on with technical documents in both languages (C++ reference, Python proposals). Every run has the same general stage (same
seed, so the same model to the bit), the same number of tokens in the domain stage and the same learning rates; only the part of them that
is replay differs. The loss is measured on documents that no stage reads, in nats per token.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from pipeline.aligned import aligned

GENERAL = {"news_dps_sample": 0.3, "petitions": 0.2, "wiki_korquad_contexts": 0.05, "digitalgov": 0.45}
DOMAIN = {"docs_ms_cpp_ko": 0.5, "peps": 0.5}
FILES = (
    *(f"text/ko/{name}.jsonl.gz" for name in ("news_dps_sample", "petitions", "wiki_korquad_contexts", "docs_ms_cpp_ko")),
    *(f"text/en/{name}.jsonl.gz" for name in ("digitalgov", "peps")),
)
VOCABULARY, LENGTH, BATCH = 8192, 256, 8192
MODEL = {
    "hidden_size": 128,
    "layers": 4,
    "heads": 4,
    "kv_heads": 2,
    "head_dim": 32,
    "intermediate_size": 384,
    "tied": True,
    "rope_theta": 10000,
    "max_position_embeddings": 1024,
}


def onnuri(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "pipeline", *map(str, arguments)], check=True)


def prepare(data: Path, out: Path) -> None:
    """A tokenizer and token shards of the texts."""
    files = [str(data / name) for name in FILES]
    onnuri("tokenizer", "count", *files, "-o", out / "counts", "--quiet")
    size = ("--vocab-size", VOCABULARY, "--set", "seed_syllables=none")
    onnuri("tokenizer", "train", out / "counts", "-o", out / "tokenizer", *size, "--quiet")
    onnuri("tokenizer", "encode", *files, "--tokenizer", out / "tokenizer", "-o", out / "shards", "--quiet")


def plan(out: Path, fraction: float, general: int, domain: int) -> dict[str, Any]:
    def sources(weights: dict[str, float], scale: float) -> list[dict[str, Any]]:
        return [{"name": name, "where": {"source": name}, "weight": round(w * scale, 6), "max_epochs": 8} for name, w in weights.items()]

    stage = {"sequence_length": LENGTH, "batch_tokens": BATCH}
    again = {"replay": {"stage": "general", "fraction": fraction, "policy": "unseen_first"}} if fraction else {}
    warm = {"warmup_tokens": general // 10}
    fall = {"decay_share": 1.0, "decay": "linear", "final_lr_ratio": 0.1}
    return {
        "name": f"replay-{fraction:g}",
        "seed": 7,
        "tokenizer": str(out / "tokenizer"),
        "shards": str(out / "shards"),
        "model": MODEL,
        "validation": {"share": 0.03, "tokens": 65_536, "every_steps": 50},
        "stages": [
            {
                "name": "general",
                **stage,
                "tokens": general,
                "sources": sources(GENERAL, 1.0),
                "schedule": {"type": "wsd", "peak_lr": 2e-3, **warm},
            },
            {
                "name": "domain",
                **stage,
                "tokens": domain,
                "sources": sources(DOMAIN, 1.0 - fraction),
                "schedule": {"type": "wsd", "peak_lr": "inherit", **fall},
                **again,
            },
        ],
        "run": {"micro_batch": 16, "checkpoint_every_steps": 10_000, "log_every_steps": 10},
    }


def losses(run: Path) -> dict[str, dict[str, float]]:
    """The validation loss of each source at the end of each stage."""
    found: dict[str, dict[str, float]] = {}
    for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if entry["kind"] == "validation":
            found[entry["stage"]] = {name: facts["loss"] for name, facts in entry["sources"].items()}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/replay"))
    parser.add_argument("--fractions", type=float, nargs="+", default=[0.0, 0.1, 0.3])
    parser.add_argument("--general", type=float, default=1.5e6, help="tokens of stage general")
    parser.add_argument("--domain", type=float, default=0.75e6, help="tokens of stage domain")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    out = arguments.output
    prepare(arguments.data, out)
    measured = {}
    for fraction in arguments.fractions:
        path = out / f"replay-{fraction:g}.yaml"
        path.write_text(
            yaml.safe_dump(plan(out, fraction, int(arguments.general), int(arguments.domain)), sort_keys=False), encoding="utf-8"
        )
        onnuri("train", "pretrain", path, "-o", out / f"run-{fraction:g}")
        measured[f"{fraction:g}"] = losses(out / f"run-{fraction:g}")
    first = next(iter(measured.values()))
    rows = [("held-out text", "after general", *(f"after domain, replay {fraction}" for fraction in measured))]
    for name in (*(f"general/{name}" for name in GENERAL), *(f"domain/{name}" for name in DOMAIN)):
        before = first["general"][name]
        after = [f"{run['domain'][name]:.3f} ({run['domain'][name] - before:+.3f})" for run in measured.values()]
        rows.append((name, f"{before:.3f}", *after))
    print("\n".join(aligned(rows, words=0)))
    if arguments.json:
        arguments.json.write_text(json.dumps(measured, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
