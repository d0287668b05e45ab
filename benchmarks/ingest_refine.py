"""Ingest and refine of the HTML and WARC data with one worker: documents per second and core by step, and what share the extractor takes.

    python benchmarks/ingest_refine.py DATA                          DATA holds html/ and warc/; every extractor
    python benchmarks/ingest_refine.py DATA --extractor resiliparse  one of them
    python benchmarks/ingest_refine.py DATA --only warc              a folder

The product's own commands run, each in a process of its own, and the seconds are those of their manifests: wall time of one worker by step,
in which one core works at a time (the extractor process works while the worker waits). A small run before fills the caches of compiled
kernels. Documents per second of a step: the rows that enter it per second of it; the rows of reading are the records seen.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

FOLDERS = {"html": "*.tar.gz", "warc": "*"}
"""Archives only: the gold beside them is JSON, not documents."""
EXTRACTORS = ("trafilatura", "trafilatura-fast", "resiliparse")


def onnuri(*arguments: object) -> None:
    """Run a command as a user would; its output appears only if it fails."""
    done = subprocess.run([sys.executable, "-m", "pipeline", *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"onnuri {' '.join(map(str, arguments))} failed:\n{done.stderr}")


def manifest_of(folder: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return manifest


def run_both(inputs: list[Path], out: Path, extractor: str) -> dict[str, dict[str, Any]]:
    """Ingest, then refine of what it kept; the manifest of each."""
    common = ("--workers", 1, "--quiet", "--set", "min_kept_share=0")
    onnuri("ingest", *inputs, "-o", out / "ingest", "--extractor", extractor, *common)
    onnuri("refine", out / "ingest" / "kept", "-o", out / "refine", *common)
    return {name: manifest_of(out / name) for name in ("ingest", "refine")}


def print_table(extractor: str, manifests: dict[str, dict[str, Any]]) -> None:
    """Seconds, documents per second and share of each step."""
    steps = [(move, name, facts) for move, manifest in manifests.items() for name, facts in manifest["stages"].items()]
    total = sum(facts["seconds"] for _, _, facts in steps)
    read = manifests["ingest"]["rows_in"]
    print(f"\nextractor: {extractor}\n\n| move | step | documents in | seconds | documents/s | share |\n|---|---|---|---|---|---|")
    for move, name, facts in steps:
        whole = manifests[move]["rows_in"] if name == "read" else manifests[move]["kept"]["rows"]
        rows = int(facts["rows_in"]) or whole  # reading and writing count no rows of their own
        rate = f"{rows / facts['seconds']:.0f}" if facts["seconds"] else "-"
        print(f"| {move} | {name} | {rows} | {facts['seconds']:.2f} | {rate} | {facts['seconds'] / total:.1%} |")
    print(f"| both | all | {read} | {total:.2f} | {read / total:.1f} | 100.0% |")
    extract = manifests["ingest"]["stages"]["extract"]["seconds"]
    kept = manifests["refine"]["kept"]
    print(f"\nThe extractor takes {extract / total:.1%} of the time. {kept['rows']} documents, {kept['bytes'] / 1e6:.1f} MB, are kept.")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path, help="folder of development data, with html/ and warc/ in it")
    parser.add_argument("--extractor", action="append", choices=EXTRACTORS, help="repeatable; all when left out")
    parser.add_argument("--only", choices=list(FOLDERS), help="one of the folders")
    options = parser.parse_args()
    chosen = {name: pattern for name, pattern in FOLDERS.items() if options.only in (None, name)}
    inputs = [path for name, pattern in chosen.items() for path in sorted((options.data / name).glob(pattern))]
    with tempfile.TemporaryDirectory() as folder:
        run_both([options.data / "warc"], Path(folder) / "warm", "resiliparse")
        for extractor in options.extractor or EXTRACTORS:
            print_table(extractor, run_both(inputs, Path(folder) / extractor, extractor))
            sys.stdout.flush()


if __name__ == "__main__":
    main()
