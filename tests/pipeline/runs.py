"""Running the command in tests: a small synthetic crawl, one command line, and the bytes of what a run made."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "configs" / "sample.yaml"


def onnuri(*arguments: object, timeout: float = 600, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user would, from the project's root."""
    command = [sys.executable, "-m", "pipeline", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=timeout, check=False)


def run_arguments(sample: Path, run: Path, *more: str) -> list[str]:
    """`onnuri run` on a sample folder; small samples need not reach the thresholds of the score, so it is left out."""
    return ["run", str(CONFIG), "-o", str(run), "--set", f"vars.sample={sample}", "--set", "sample=", "--quiet", *more]


def shards(run: Path) -> dict[str, bytes]:
    """What must be the same in every run: all kept, dropped and quarantined rows, evidence, and the corpus."""
    names = [path for path in run.rglob("*.parquet") if "steps" not in path.parts]
    names += [run / "corpus" / "manifest.json", *(run / "corpus").glob("*.yaml")]
    return {str(path.relative_to(run)): path.read_bytes() for path in sorted(names)}


def leftovers(run: Path) -> list[str]:
    """Files that a finished run must not leave: temporary names, locks, traces of failures."""
    return [str(path) for path in run.rglob("*") if path.name.endswith(".tmp") or path.name in (".tmp", ".lock", "failed")]
