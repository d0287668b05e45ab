"""Ingest and refine of the HTML and WARC data with one worker: documents per second and core by step, and what share the extractor takes.

    python benchmarks/ingest_refine.py DATA                          DATA holds html/ and warc/; every extractor
    python benchmarks/ingest_refine.py DATA --extractor resiliparse  one of them
    python benchmarks/ingest_refine.py DATA --only warc              a folder

The product's own commands run, each in a process of its own, and the seconds are those of their manifests: wall time of one worker by step,
in which one core works at a time (the extractor process works while the worker waits). A small run before fills the caches of compiled
kernels, and a run over one page gives the start-up of each step (imports, starting the extractor), which is shown and not counted in
rates and shares. Documents per second of a step: the rows that enter it per second of it; the rows of reading are the records seen.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

FOLDERS = {"html": "*.tar.gz", "warc": "*"}
"""Archives only: the gold beside them is JSON, not documents."""
MIN_SECONDS = 0.05
"""Below this the clock says more about the machine than about the step."""
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


def write_page(folder: Path) -> Path:
    """An archive of one page."""
    sentence = "이 문장은 본문에 속하며 사람이 읽을 만한 이야기를 담고 있습니다. "
    page = f"<html><body><article>{f'<p>{sentence * 4}</p>' * 9}</article></body></html>".encode()
    with tarfile.open(folder / "page.tar", "w") as archive:
        member = tarfile.TarInfo("page.html")
        member.size = len(page)
        archive.addfile(member, io.BytesIO(page))
    return folder / "page.tar"


def print_table(extractor: str, manifests: dict[str, dict[str, Any]], starts: dict[str, dict[str, Any]]) -> None:
    """Seconds, start-up seconds, documents per second and share of each step."""
    steps = [(move, name, facts) for move, manifest in manifests.items() for name, facts in manifest["stages"].items()]
    began = {(move, name): facts["seconds"] for move, manifest in starts.items() for name, facts in manifest["stages"].items()}
    seconds = {(move, name): max(0.0, facts["seconds"] - began.get((move, name), 0.0)) for move, name, facts in steps}
    total = sum(seconds.values())
    read = manifests["ingest"]["rows_in"]
    print(f"\nextractor: {extractor}\n\n| move | step | documents in | start-up s | seconds | documents/s | share |")
    print("|---|---|---|---|---|---|---|")
    for move, name, facts in steps:
        whole = manifests[move]["rows_in"] if name == "read" else manifests[move]["kept"]["rows"]
        rows = int(facts["rows_in"]) or whole  # reading and writing count no rows of their own
        took = seconds[move, name]
        rate = f"{rows / took:.0f}" if took >= MIN_SECONDS else "-"
        print(f"| {move} | {name} | {rows} | {began.get((move, name), 0.0):.2f} | {took:.2f} | {rate} | {took / total:.1%} |")
    print(f"| both | all | {read} | {sum(began.values()):.2f} | {total:.2f} | {read / total:.1f} | 100.0% |")
    kept = manifests["refine"]["kept"]
    share = seconds["ingest", "extract"] / total
    print(f"\nThe extractor takes {share:.1%} of the time. {kept['rows']} documents, {kept['bytes'] / 1e6:.1f} MB, are kept.")


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
        page = write_page(Path(folder))
        for extractor in options.extractor or EXTRACTORS:
            starts = run_both([page], Path(folder) / f"{extractor}-start", extractor)
            print_table(extractor, run_both(inputs, Path(folder) / extractor, extractor), starts)
            sys.stdout.flush()


if __name__ == "__main__":
    main()
