"""`onnuri doctor`: what is installed, what works on this machine, and what is missing for what."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass

_NEEDED = {
    "pyarrow": "every shard",
    "numpy": "every kernel",
    "numba": "every kernel",
    "polars": "joins and sorts",
    "duckdb": "`onnuri inspect` and the report",
    "pydantic": "configuration",
    "xxhash": "ids and fingerprints",
    "orjson": "JSONL",
    "fsspec": "remote inputs",
    "zstandard": ".zst files",
    "brotli": "archived pages with brotli encoding",
    "trafilatura": "main-text extraction",
    "resiliparse": "fast main-text extraction",
    "webencodings": "charset labels",
    "faust-cchardet": "charset detection",
    "py3langid": "language detection",
    "protego": "robots.txt rules",
    "fasttext-numpy2": "classify",
    "jinja2": "report.html",
    "tokenizers": "the tokenizer",
    "gigatoken": "encoding token shards",
}
_OPTIONAL = {
    "ray": "--engine ray and `onnuri submit`",
    "s3fs": "s3:// inputs",
    "kiwipiepy": "refine.kiwi, the preset fineweb2-ko, morpheme cuts of the tokenizer (pip install 'onnuri[korean]')",
    "torch": "training (pip install 'onnuri[train]')",
    "deepspeed": "training (pip install 'onnuri[train]')",
}


@dataclass(frozen=True)
class Finding:
    """One line of the examination. state: ok, missing (an optional part), or broken (nothing works without it)."""

    what: str
    state: str
    detail: str


def examine() -> list[Finding]:
    """Look at the interpreter, the packages, and try the few things that fail in practice."""
    findings = [_python(), _machine()]
    findings += [_package(name, use, "broken") for name, use in _NEEDED.items()]
    findings += [_package(name, use, "missing") for name, use in _OPTIONAL.items()]
    findings += [_tried("fastText training", _fasttext_trains), _tried("numba kernels", _kernel_compiles), _tried("temporary files", _disk)]
    return findings


def render(findings: list[Finding]) -> str:
    """A plain table: state, what, detail."""
    width = max(len(finding.what) for finding in findings)
    return "\n".join(f"{finding.state:<8} {finding.what:<{width}}  {finding.detail}" for finding in findings)


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info >= (3, 11)
    return Finding("Python", "ok" if good else "broken", version if good else f"{version}; 3.11 or newer is needed")


def _machine() -> Finding:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    free = shutil.disk_usage(".").free / 2**30
    return Finding("machine", "ok", f"{len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB memory, {free:.0f} GiB free on this disk")


def _package(name: str, use: str, state_if_absent: str) -> Finding:
    try:
        return Finding(name, "ok", f"{importlib.metadata.version(name)}, for {use}")
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, state_if_absent, f"not installed; needed for {use}")


def _tried(what: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(what, "ok", check())
    except (ImportError, RuntimeError, OSError, ValueError) as error:
        return Finding(what, "broken", str(error))


def _fasttext_trains() -> str:
    import fasttext

    if not hasattr(fasttext, "train_supervised"):
        raise RuntimeError(
            "the installed 'fasttext' module can't train: another package (fasttext-predict) has overwritten it; reinstall fasttext-numpy2"
        )
    return "train_supervised is there"


def _kernel_compiles() -> str:
    import pyarrow as pa

    from decontam.normalize import normalize_batch

    normalized = normalize_batch(pa.array(["Ｏｎｎｕｒｉ 온누리"], pa.large_string()))
    return f"compiled and ran: {len(normalized.codepoints)} letters normalised"


def _disk() -> str:
    import tempfile

    with tempfile.NamedTemporaryFile() as stream:
        stream.write(b"x")
        stream.flush()
    return f"can write to {tempfile.gettempdir()}"
