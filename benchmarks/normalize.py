"""Speed of the normaliser on one core, beside a memory copy and Python's `unicodedata`.

    python benchmarks/normalize.py DATA [--megabytes M] [--repeats N]

DATA holds `text/ko` and `text/en` with JSONL files. Each file is normalised as a scan does it, in batches of about 1 MB, with the output
memory used again, and once more with fresh memory for each batch. The table gives MB of UTF-8 a second, best of N in the thread's own
time: characters alone, with word boundaries, with byte spans, with byte spans into fresh memory, the definition (`normalize_text`, which
is `unicodedata`) on a share, and `bytes()` of the batch. Below the files stand rewritten spellings, which take the slower paths.
"""

from __future__ import annotations

import argparse
import time
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from decontam.arrow import text_buffers
from decontam.normalize import Workspace, normalize_buffers, normalize_text
from decontam.readers import read_rows

FILES = (
    "ko/law_legalize_kr", "ko/news_dps_sample", "ko/petitions", "ko/docs_ms_cpp_ko", "ko/blog_johngrib", "ko/movie_reviews_nsmc_raw",
    "en/books_classic", "en/peps", "en/digitalgov",
)  # fmt: skip
BATCH_BYTES = 1 << 20
DEFINITION_CHARACTERS = 200_000
ACCENTS = str.maketrans("eaou", "éàöü")
CYRILLIC = str.maketrans("abcdefghijklmnopqrstuvwxyz", "абцдефгхийклмнопярстувщхыз")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--megabytes", type=float, default=6.0, help="text per file")
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    print(f"{'text':<28}{'MB':>6}{'plain':>8}{'breaks':>8}{'spans':>8}{'fresh':>8}{'unicodedata':>13}{'copy':>8}")
    texts = {name: read_texts(arguments.data / "text" / f"{name}.jsonl.gz", arguments.megabytes * 1e6) for name in FILES}
    korean, english = texts["ko/petitions"], texts["en/digitalgov"]
    texts["Korean, decomposed (NFD)"] = [unicodedata.normalize("NFD", text) for text in korean]
    texts["Latin, half accented"] = [text.translate(ACCENTS) for text in english]
    texts["Cyrillic"] = [text.translate(CYRILLIC) for text in english]
    texts["English, spaces are emoji"] = [text.replace(" ", " 👍🏽") for text in english]
    for name, documents in texts.items():
        print_row(name, documents, arguments.repeats)


def read_texts(path: Path, limit: float) -> list[str]:
    """Documents from the beginning of a file, about `limit` bytes of them."""
    texts, size = [], 0
    for _, row in read_rows(path):
        texts.append(str(row["text"] or ""))
        size += len(texts[-1].encode())
        if size > limit:
            break
    return texts


def print_row(name: str, texts: list[str], repeats: int) -> None:
    data, offsets = text_buffers(pa.array(texts, pa.large_string()))
    batches = list(split(offsets))
    size = int(offsets[-1] - offsets[0])
    workspace = Workspace()

    def normalise(with_spans: bool = False, with_breaks: bool = False, memory: Workspace | None = workspace) -> None:
        for batch in batches:
            normalize_buffers(data, batch, with_spans, with_breaks, memory)

    def copy() -> None:
        for batch in batches:
            bytes(data[batch[0] : batch[-1]])

    share = "\n".join(texts)[:DEFINITION_CHARACTERS]
    speeds = [
        size / best(normalise, repeats),
        size / best(lambda: normalise(with_breaks=True), repeats),
        size / best(lambda: normalise(with_spans=True), repeats),
        size / best(lambda: normalise(with_spans=True, memory=None), repeats),
    ]
    definition = len(share.encode()) / best(lambda: normalize_text(share), 1)
    columns = "".join(f"{speed / 1e6:>8,.0f}" for speed in speeds)
    print(f"{name:<28}{size / 1e6:>6.1f}{columns}{definition / 1e6:>13.1f}{size / best(copy, repeats) / 1e6:>8,.0f}", flush=True)


def split(offsets: np.ndarray) -> Iterator[np.ndarray]:
    """Offsets of about BATCH_BYTES of documents at a time."""
    first = 0
    while first < len(offsets) - 1:
        last = max(first + 1, int(np.searchsorted(offsets, offsets[first] + BATCH_BYTES, side="right")) - 1)
        yield offsets[first : last + 1]
        first = last


def best(run: Callable[[], object], repeats: int) -> float:
    """Seconds of this thread, the least of `repeats`."""
    seconds = []
    for _ in range(repeats):
        began = time.thread_time()
        run()
        seconds.append(time.thread_time() - began)
    return min(seconds)


if __name__ == "__main__":
    main()
