"""Tell the language of short samples: py3langid's model with a second look for English, or a fastText model of the user's."""

from __future__ import annotations

import functools
import math
import re
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from pipeline.errors import UserError

Detector = Callable[[Sequence[str]], list[tuple[str, float]]]
"""From samples to (language code, confidence 0 to 1); `und` with 0.0 where there is no evidence at all."""

SURE_SCORE = 0.9
"""A detection that scores this much needs no second look."""

_ENGLISH = """about after again against always and another any anyone anything because been before being between both cannot could did
does doing down during each enough even ever every everyone everything few from get getting give given going got had having her here
hers herself him himself his how if into its itself just know knows let like made make many might more most much must myself never
nobody nothing now once only other others ought our ours ourselves own please quite rather really said same saw say says shall she
should since some someone something sometimes soon still such than that the their theirs them themselves then there these they thing
things think this those though thought through together too took until upon very want wanted wants went were what when where whether
which while who whom whose why with within without would yes yet you your yours yourself
i'm i'd i'll i've you're you've you'll you'd he's he'll he'd she's she'll she'd it's it'll we're we've we'll we'd they're they've they'll
they'd that's there's what's who's let's don't doesn't didn't isn't aren't wasn't weren't won't wouldn't can't couldn't shouldn't hasn't
haven't hadn't"""
_SHARED = """a am an are as at be but by can do for go good has have he i in is it me my no not of off on one or out over so to up us was
we will"""
ENGLISH_WORDS = frozenset(_ENGLISH.split())
"""Function words (and their contractions) that hardly occur in other languages' texts."""
SHARED_WORDS = frozenset(_SHARED.split())
"""English function words that are words of other languages too: weak evidence."""
ODDS_WEIGHT, ENGLISH_WEIGHT, SHARED_WEIGHT, OTHER_WEIGHT, BIAS = 3.4, 2.9, 0.6, -0.8, 0.8
"""Log-odds for English: of the model's odds against its best other language, of each word of the two lists, of every other word. The
weights of a logistic regression on half of Tatoeba's sentences in Latin script, rounded (docs/language.md). The bias is lower than fitted
(2.4), so that one word that is no function word, a name say, proves nothing."""

ENGLISH_CREOLES = ("pcm",)
"""Nigerian Pidgin shares English's words: in short English sentences it is the rival more often than all other languages together. It is
no rival where the model is unsure; where it is sure of Pidgin, the text is Pidgin."""

_AT_ONCE = 4096
"""Samples whose probabilities are in memory at a time: 2 MB for 142 classes."""
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")

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


class BuiltIn:
    """py3langid's shipped model. About 100 MB: the automaton, and the weights as float32 so that they add up without conversion."""

    def __init__(self) -> None:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier

        model: Any = LanguageIdentifier.from_model_file(MODEL_FILE)
        self._next_state = np.ascontiguousarray(model.tk_nextmove, np.uint32)
        self._state_row = np.ascontiguousarray(model.tk_row, np.int32)
        self._state_feature = np.ascontiguousarray(model.tk_output, np.int32)
        self._weights = np.ascontiguousarray(model.nb_ptc, np.float32)
        self._priors = np.ascontiguousarray(model.nb_pc, np.float32)
        labels = list(model.nb_classes)
        self.labels = list(dict.fromkeys(labels))
        self._label_of_class = np.array([self.labels.index(label) for label in labels])
        self._english = self.labels.index("en")
        self._no_rivals = [self.labels.index(label) for label in ("en", *ENGLISH_CREOLES) if label in self.labels]

    def probabilities(self, samples: Sequence[str]) -> np.ndarray:
        """Samples x labels (float32), each row summing to 1, or 0 throughout where the model knows nothing of a sample.

        As in py3langid, log-posteriors are divided by the square root of the sample's bytes before they become probabilities: its
        features overlap, and undivided they would always be certain.
        """
        from pipeline.refine import detector_kernel as kernel

        encoded = [unicodedata.normalize("NFC", sample.lower() if sample.isupper() else sample).encode() for sample in samples]
        sizes = np.array([len(sample) for sample in encoded], np.int64)
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        content = np.frombuffer(b"".join(encoded), np.uint8)
        features = np.empty(content.size, np.int32)
        kernel.walk(content, offsets, self._next_state, self._state_row, self._state_feature, features)
        scores = np.zeros((len(samples), self._priors.size), np.float32)
        log_counts = np.log1p(np.arange(kernel.COUNTS)).astype(np.float32)
        kernel.add_up(features, offsets, self._weights, self._priors, log_counts, scores)
        known = np.any(scores != 0, axis=1)
        scores /= np.sqrt(np.maximum(sizes, 1), dtype=np.float32)[:, None]
        by_class = np.exp(scores - scores.max(axis=1, keepdims=True, initial=-np.inf))
        by_label = np.zeros((len(samples), len(self.labels)), np.float32)
        np.add.at(by_label.T, self._label_of_class, by_class.T)
        return by_label / by_label.sum(axis=1, keepdims=True) * np.asarray(known)[:, None]

    def __call__(self, samples: Sequence[str]) -> list[tuple[str, float]]:
        """Language and confidence of each sample, English by `english_score` where the model alone is not sure."""
        found: list[tuple[str, float]] = []
        for first in range(0, len(samples), _AT_ONCE):
            found += self._detect(samples[first : first + _AT_ONCE])
        return found

    def _detect(self, samples: Sequence[str]) -> list[tuple[str, float]]:
        probabilities = self.probabilities(samples)
        best = probabilities.argmax(axis=1)
        confidence = probabilities[np.arange(len(samples)), best]
        english = probabilities[:, self._english].copy()
        probabilities[:, self._no_rivals] = 0
        rival = probabilities.max(axis=1)
        found: list[tuple[str, float]] = []
        for sample, label, sure, ours, theirs in zip(
            samples, best.tolist(), confidence.tolist(), english.tolist(), rival.tolist(), strict=True
        ):
            code = self.labels[label] if sure else "und"
            if sure < SURE_SCORE:
                evidence = english_score(sample, ours, theirs)
                if code == "en":
                    sure = max(sure, evidence)
                elif evidence > 0.5:
                    code, sure = "en", evidence
            found.append((code, sure))
        return found


def english_score(sample: str, english: float, rival: float) -> float:
    """Probability that a sample is English, from the model's probabilities of English and of its best rival, and from its words.

    The model spreads a short sentence's probability over all its languages: what tells is how far English is ahead, and function words.
    """
    words = _WORD.findall(sample.replace("\u2019", "'").lower())
    certain = sum(word in ENGLISH_WORDS for word in words)
    shared = sum(word in SHARED_WORDS for word in words)
    others = len(words) - certain - shared
    odds = math.log(max(english, 1e-9) / max(rival, 1e-9))
    log_odds = BIAS + ODDS_WEIGHT * odds + ENGLISH_WEIGHT * certain + SHARED_WEIGHT * shared + OTHER_WEIGHT * others
    return 1 / (1 + math.exp(-max(-700.0, min(700.0, log_odds))))


class FastText:
    """A fastText model of the user's."""

    def __init__(self, path: str) -> None:
        import fasttext

        self._model = fasttext.load_model(path)

    def __call__(self, samples: Sequence[str]) -> list[tuple[str, float]]:
        """Language and the model's probability of each sample."""
        return [self._classify(sample) for sample in samples]

    def _classify(self, sample: str) -> tuple[str, float]:
        # The bound C++ method: the Python wrapper fails with numpy 2, and needs the line feed that ends an example.
        found = self._model.f.predict(sample.replace("\n", " ") + "\n", 1, 0.0, "strict")
        return (normalised_code(found[0][1]), min(float(found[0][0]), 1.0)) if found else ("und", 0.0)


@functools.lru_cache(maxsize=2)
def detector(model_path: str | None) -> Detector:
    """The detector of a fastText model's path, or the built-in one; loaded once per process."""
    return FastText(model_path) if model_path else BuiltIn()


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
