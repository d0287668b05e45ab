"""How well languages are told: `python benchmarks/language.py DATA` (DATA holds labelled/lid, labelled/parallel and text).

    python benchmarks/language.py DATA                  every table, about two minutes
    python benchmarks/language.py DATA --table speed    one table: sentences, parallel, mixed, code or speed

Each text goes through the stage as in a run (keep ko, en and mixed; score from .5). Beside it stands py3langid alone: its best language,
and the same with its own score from .5. The weights of the built-in detector's second look were fitted to the sentences of Tatoeba whose
hash is even; the tables show the others only.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from pipeline.refine.language import Language

EDGES = (0, 20, 50, 100, 200, 500, 1 << 30)
JOINED_CHARS, JOINED_DOCUMENTS = (80, 150, 350, 900), 40
"""Lengths that sentences of one language are joined to, and how many such texts each language gives at most."""
SEED = 3
TATOEBA_CODES = {"kor": "ko", "eng": "en"}

Row = tuple[str, str]
"""(true language, text)"""


def records(path: Path) -> Iterator[dict[str, str]]:
    """The records of a .jsonl.gz file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def sentences(folder: Path) -> list[Row]:
    """The held-out half of Tatoeba."""
    found = records(folder / "tatoeba_laser_112lang.jsonl.gz")
    return [(TATOEBA_CODES.get(r["lang"], r["lang"]), r["text"]) for r in found if xxhash.xxh3_64_intdigest(r["text"].encode()) % 2]


def joined(rows: Sequence[Row]) -> Iterator[Row]:
    """Sentences of one language one after another, in an order drawn with SEED, to texts of JOINED_CHARS."""
    by_language: dict[str, list[str]] = defaultdict(list)
    for language, text in rows:
        by_language[language].append(text)
    for language, texts in sorted(by_language.items()):
        for length in JOINED_CHARS:
            random.Random(f"{SEED} {language} {length}").shuffle(texts)
            made, parts = 0, list[str]()
            for text in texts:
                parts.append(text)
                if sum(map(len, parts)) + len(parts) >= length:
                    yield language, " ".join(parts)
                    made, parts = made + 1, []
                if made == JOINED_DOCUMENTS:
                    break


def stage_verdicts(texts: Sequence[str]) -> list[str]:
    """The language each text is kept as, or an empty string."""
    table = Language()(pa.table({"text": pa.array(texts, pa.large_string())}))
    return ["" if reason else lang for lang, reason in zip(table["lang"].to_pylist(), table["drop_reason"].to_pylist(), strict=True)]


def raw_verdicts(least: float) -> Callable[[Sequence[str]], list[str]]:
    """py3langid's language for each text, or an empty string below the score `least`."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    classify = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True).classify
    return lambda texts: [language if score >= least else "" for language, score in map(classify, texts)]


def bucket(text: str) -> int:
    """Which of the ranges between EDGES the text's characters fall in."""
    return int(np.searchsorted(EDGES, len(text), side="right")) - 1


def bucket_name(number: int) -> str:
    """The range as in `20-49`."""
    last = f"-{EDGES[number + 1] - 1}" if number < len(EDGES) - 2 else "+"
    return f"{EDGES[number]}{last}"


def table_sentences(data: Path) -> None:
    """Precision and recall for ko and en by length."""
    rows = sentences(data / "labelled/lid")
    rows += list(joined(rows)) + [(r["lang"], r["text"]) for r in records(data / "labelled/lid/ja_th_web_docs.jsonl.gz")]
    texts = [text for _, text in rows]
    detectors = {"onnuri": stage_verdicts, "py3langid, best": raw_verdicts(0.0), "py3langid, score >= .5": raw_verdicts(0.5)}
    for language in ("ko", "en"):
        print(f"\n{language}: recall, and texts of other languages taken for it\n")
        print("| characters | texts | others | " + " | ".join(f"{name}: recall | precision | wrong" for name in detectors) + " |")
        print("|---" * (3 + 3 * len(detectors)) + "|")
        verdicts = {name: detect(texts) for name, detect in detectors.items()}
        for number in range(len(EDGES) - 1):
            here = [index for index, text in enumerate(texts) if bucket(text) == number]
            own = sum(rows[index][0] == language for index in here)
            cells = []
            for found in verdicts.values():
                taken = [index for index in here if found[index] == language]
                right = sum(rows[index][0] == language for index in taken)
                cells.append(f"{right / max(own, 1):.3f} | {right / max(len(taken), 1):.3f} | {len(taken) - right}")
            print(f"| {bucket_name(number)} | {own} | {len(here) - own} | " + " | ".join(cells) + " |")
        wrong = Counter(
            rows[index][0] for index, found in enumerate(verdicts["onnuri"]) if found == language and rows[index][0] != language
        )
        print(f"\ntaken for {language} by onnuri: " + ", ".join(f"{code} {count}" for code, count in wrong.most_common(12)))


def table_parallel(data: Path) -> None:
    """South and North Korean news and their English translations."""
    print("\n| sentences | texts | onnuri: recall | mixed | py3langid, best | py3langid, score >= .5 |\n|---|---|---|---|---|---|")
    for name in ("ko_en_news_dev", "nk_en_news_dev"):
        found = list(records(data / f"labelled/parallel/{name}.jsonl.gz"))
        for language in ("ko", "en"):
            texts = [record[language] for record in found]
            ours = stage_verdicts(texts)
            theirs = [f"{raw_verdicts(least)(texts).count(language) / len(texts):.3f}" for least in (0.0, 0.5)]
            share, mixed = ours.count(language) / len(texts), ours.count("mixed")
            print(f"| {name}, {language} | {len(texts)} | {share:.3f} | {mixed} | {' | '.join(theirs)} |")


def letters(text: str) -> int:
    """Letters as Python knows them."""
    return sum(map(str.isalpha, text))


def table_mixed(data: Path) -> None:
    """Documents made of Korean, English and Japanese paragraphs in known shares."""
    by_language: dict[str, list[str]] = defaultdict(list)
    for language, text in sentences(data / "labelled/lid"):
        by_language[language].append(text)
    print("\n| Korean share of words | documents | lang ko | mixed | en | paragraph_langs: mean error | largest | wrong languages |")
    print("|---|---|---|---|---|---|---|---|")
    chance = random.Random(SEED)
    for tenths in range(0, 11):
        texts, truths = [], []
        for _ in range(100):
            lines = []
            for _ in range(20):
                language = "ko" if chance.random() < tenths / 10 else "en"
                parts: list[str] = []
                while sum(part.count(" ") + 1 for part in parts) < 12:
                    parts.append(chance.choice(by_language[language]))
                lines.append((language, " ".join(parts)))
            texts.append("\n".join(line for _, line in lines))
            total = sum(letters(line) for _, line in lines)
            truth: dict[str, float] = defaultdict(float)
            for language, line in lines:
                truth[language] += letters(line) / total
            truths.append(truth)
        table = Language(keep=(), min_score=0)(pa.table({"text": pa.array(texts, pa.large_string())}))
        langs = Counter(table["lang"].to_pylist())
        errors, wrong = [], 0
        for truth, found in zip(truths, table["paragraph_langs"].to_pylist(), strict=True):
            shares = {pair["lang"]: pair["share"] for pair in found}
            errors.append(max(abs(shares.get(code, 0) - truth.get(code, 0)) for code in ("ko", "en")))
            wrong += sum(code not in truth for code in shares)
        cells = " | ".join(str(langs[code]) for code in ("ko", "mixed", "en"))
        print(f"| {tenths / 10:.1f} | {len(texts)} | {cells} | {np.mean(errors):.4f} | {max(errors):.4f} | {wrong} |")


def table_code(data: Path) -> None:
    """Korean documents with much code and English in them."""
    print("\n| source | documents | ko | mixed | en | other | dropped | mean share of ko, mixed, en paragraphs |")
    print("|---" * 8 + "|")
    for name in ("docs_react_ko", "blog_johngrib", "docs_ms_cpp_ko"):
        texts = [record["text"] for record in records(data / f"text/ko/{name}.jsonl.gz")][:1500]
        table = Language()(pa.table({"text": pa.array(texts, pa.large_string())}))
        langs = Counter(table["lang"].to_pylist())
        shares: Counter[str] = Counter()
        for found in table["paragraph_langs"].to_pylist():
            shares.update({pair["lang"]: pair["share"] / len(texts) for pair in found})
        other = len(texts) - langs["ko"] - langs["mixed"] - langs["en"]
        dropped = len(texts) - table["drop_reason"].null_count
        means = ", ".join(f"{shares[code]:.2f}" for code in ("ko", "mixed", "en"))
        print(f"| {name} | {len(texts)} | {langs['ko']} | {langs['mixed']} | {langs['en']} | {other} | {dropped} | {means} |")


def table_speed(data: Path) -> None:
    """Megabytes per second of the stage on one core, the best of five runs, and of py3langid on the same samples of 384 bytes."""
    print("\n| source | documents | bytes each | stage MB/s | microseconds per document |\n|---|---|---|---|---|")
    for name in ("en/digitalgov", "en/peps", "ko/news_dps_sample", "ko/wiki_korquad_contexts", "ko/docs_ms_cpp_ko", "ko/blog_johngrib"):
        texts = [record["text"] for record in records(data / f"text/{name}.jsonl.gz")][:2000]
        table = pa.table({"text": pa.array(texts, pa.large_string())})
        size = sum(len(text.encode()) for text in texts)
        stage = Language()
        stage(table.slice(0, 10))
        seconds = min(_seconds(stage, table) for _ in range(5))
        each = seconds / len(texts) * 1e6
        print(f"| {name} | {len(texts)} | {size // len(texts)} | {size / seconds / 1e6:.0f} | {each:.0f} |")
    texts = [record["text"][:384] for record in records(data / "text/en/digitalgov.jsonl.gz")]
    detect = raw_verdicts(0.0)
    each = min(_seconds(detect, texts) for _ in range(2)) / len(texts) * 1e6
    print(f"\npy3langid alone on the first 384 characters of digitalgov: {each:.0f} microseconds each")


def _seconds(work: Callable[[Any], object], argument: object) -> float:
    """Processor seconds of a call: other work on the machine disturbs them less than the clock's."""
    begun = time.process_time()
    work(argument)
    return time.process_time() - begun


TABLES = {"sentences": table_sentences, "parallel": table_parallel, "mixed": table_mixed, "code": table_code, "speed": table_speed}


def main() -> None:
    """Print the wanted tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with labelled/ and text/")
    parser.add_argument("--table", choices=TABLES, help="print only this table")
    given = parser.parse_args()
    for name, print_table in TABLES.items():
        if given.table in (None, name):
            print_table(given.data)


if __name__ == "__main__":
    main()
