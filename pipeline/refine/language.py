"""Say which language each document is in: by script where Hangul decides, else by a detector on a bounded sample.

Hangul is written in Korean only, so a share of letters is better evidence than any model, at any length. Without Hangul a model
decides: py3langid as shipped (reason and numbers in docs/refine.md), or a fastText model of the user's.
"""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from pipeline.errors import UserError
from pipeline.refine.signals import text_buffers
from pipeline.schema import with_columns
from pipeline.stage import decide

KOREAN_SHARE = 0.3
"""Share of letters that are Hangul from which a text is Korean (dps uses .25; reference curation 3.3 proposes .3)."""
MIXED_SHARE = 0.05
"""Below it Hangul is a quotation in a text of another language; from it to KOREAN_SHARE the text is mixed."""
LATIN_PER_HANGUL = 5 / 3
"""Letters of a mean English word (5) over syllables of a mean Korean one (3): where Latin letters exceed Hangul by more than this,
there are more Latin words than Korean ones."""
OWN_SHARE = 0.5
"""Hangul and Latin together must be half of the letters; a text mostly in a third script goes to the detector."""

WINDOWS = 3
"""The detector sees the start, the middle and the end of a long document, so its cost is bounded."""
WINDOW_BYTES, WIDE_WINDOW_BYTES, SURE_SCORE = 128, 512, 0.9
"""Short windows settle nearly every document; one scored below SURE_SCORE is looked at again through the wide ones (docs/refine.md)."""

CHECK_SECONDS, CHECK_BYTES_PER_SECOND = 5, 20_000_000
"""Processor time that loading a model may take: starting Python and fastText takes about one second, reading is limited by the disk;
both are given several times what they need, so that only a file that is read for ever exceeds it."""
_CHECK = """
import resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (int(sys.argv[2]), int(sys.argv[2])))
import fasttext
found = fasttext.load_model(sys.argv[1]).f.predict("one line\\n", 1, 0.0, "strict")
sys.exit(0 if found else 1)
"""

ISO_639_1 = {
    "kor": "ko", "eng": "en", "jpn": "ja", "zho": "zh", "cmn": "zh", "yue": "zh", "fra": "fr", "deu": "de", "spa": "es", "ita":
    "it", "por": "pt", "rus": "ru", "nld": "nl", "pol": "pl", "tur": "tr", "vie": "vi", "ind": "id", "tha": "th", "arb": "ar",
    "ara": "ar", "hin": "hi", "swe": "sv", "ukr": "uk", "ces": "cs", "ell": "el", "heb": "he", "fin": "fi", "hun": "hu", "ron":
    "ro", "dan": "da", "nob": "no", "bul": "bg", "pes": "fa",
}  # fmt: skip
"""Three-letter codes (GlotLID, NLLB labels such as kor_Hang) of the languages met most; others stay as they are."""


def normalised_code(label: str) -> str:
    """The language code in a model's label: `__label__en` and `__label__eng_Latn` are both `en`."""
    code = label.removeprefix("__label__").split("_")[0].split("-")[0].lower()
    return ISO_639_1.get(code, code)


@functools.lru_cache(maxsize=1)
def _built_in() -> Callable[[str], tuple[str, float]]:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True).classify


@functools.lru_cache(maxsize=2)
def _fasttext(path: str) -> Callable[[str], tuple[str, float]]:
    import fasttext

    model = fasttext.load_model(path)

    def classify(text: str) -> tuple[str, float]:
        # The bound C++ method: the Python wrapper fails with numpy 2, and needs the line feed that ends an example.
        found = model.f.predict(text.replace("\n", " ") + "\n", 1, 0.0, "strict")
        return (normalised_code(found[0][1]), min(float(found[0][0]), 1.0)) if found else ("und", 0.0)

    return classify


def check(model_path: str) -> str:
    """Load the fastText model at `model_path` in a process of its own and return the xxh3 (hex) of the file.

    A process of its own with limited processor time, because fastText does not check sizes: a truncated file can crash it or make it
    read for ever. Raises UserError when the file is missing or is not a usable fastText model.
    """
    path = Path(model_path)
    if not path.is_file():
        raise UserError(f"language_model: there is no file '{model_path}'; give the path of a fastText model (.bin or .ftz)")
    seconds = CHECK_SECONDS + path.stat().st_size // CHECK_BYTES_PER_SECOND
    outcome = subprocess.run([sys.executable, "-c", _CHECK, str(path), str(seconds)], capture_output=True, check=False)
    if outcome.returncode:
        raise UserError(f"language_model: '{model_path}' is not a usable fastText classifier; download it again or leave the key out")
    digest = xxhash.xxh3_128()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _sample(data: np.ndarray, start: int, end: int, window_bytes: int) -> str:
    if end - start <= WINDOWS * window_bytes:
        return data[start:end].tobytes().decode("utf-8", "ignore")
    firsts = (start, (start + end - window_bytes) // 2, end - window_bytes)
    return " ".join(data[first : first + window_bytes].tobytes().decode("utf-8", "ignore") for first in firsts)


def _detect(detect: Callable[[str], tuple[str, float]], data: np.ndarray, start: int, end: int) -> tuple[str, float]:
    """Language and score of one document; `und` without a letter in sight."""
    found = ("und", 0.0)
    for window_bytes in (WINDOW_BYTES, WIDE_WINDOW_BYTES):
        sample = _sample(data, start, end, window_bytes)
        if any(map(str.isalpha, sample)):
            found = detect(sample)
        if found[1] >= SURE_SCORE or end - start <= WINDOWS * window_bytes:
            break
    return found


def identify(texts: pa.ChunkedArray, hangul: np.ndarray, latin: np.ndarray, model_path: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Language code (object array of str) and score (float64, 0 to 1) per row; hangul and latin are the shares of letters.

    The score of `ko` and `mixed` is the share of letters that are Hangul or Latin; otherwise it is the detector's probability.
    """
    language = np.full(len(hangul), "und", dtype=object)
    own = hangul + latin
    score = np.where(own > 0, np.minimum(own, 1.0), 0.0)
    by_script = (hangul >= MIXED_SHARE) & (own >= OWN_SHARE)
    korean = by_script & (hangul >= KOREAN_SHARE) & (latin <= LATIN_PER_HANGUL * hangul)
    language[by_script] = "mixed"
    language[korean] = "ko"

    detect = _fasttext(model_path) if model_path else _built_in()
    data, offsets = text_buffers(texts)
    for row in np.flatnonzero(~by_script).tolist():
        language[row], score[row] = _detect(detect, data, int(offsets[row]), int(offsets[row + 1]))
    return language, score


@dataclass(frozen=True)
class Language:
    """The stage that writes `lang` and `lang_score` and drops languages not in `keep` and detections below `min_score`.

    keep: language codes, empty for all. model_path: a fastText model that replaces the built-in detector; model_hash: its content
    (`check` returns it), so that a changed file changes the stage's identity.
    """

    keep: tuple[str, ...] = ("ko", "en", "mixed")
    min_score: float = 0.5
    model_path: str | None = None
    model_hash: str = ""

    name: ClassVar[str] = "language"
    version: ClassVar[str] = "1"
    reads: ClassVar[frozenset[str]] = frozenset({"text", "hangul_ratio", "latin_ratio"})
    writes: ClassVar[frozenset[str]] = frozenset({"lang", "lang_score"})

    def __call__(self, table: pa.Table) -> pa.Table:
        """`table` with `lang`, `lang_score` and, for rows to drop, the reason `language:xx` or `language_score`."""
        hangul, latin = (pc.fill_null(table.column(name), 0.0).to_numpy(zero_copy_only=False) for name in ("hangul_ratio", "latin_ratio"))
        language, score = identify(table.column("text"), hangul, latin, self.model_path)
        table = with_columns(table, {"lang": language, "lang_score": score})
        if self.keep:
            for unwanted in sorted(set(language.tolist()) - set(self.keep)):
                table = decide(table, "drop_reason", pa.array(language == unwanted), f"language:{unwanted}")
        return decide(table, "drop_reason", pa.array(score < self.min_score), "language_score")
