"""How far Korean verdicts agree (Cohen's kappa): ours with datatrove's FineWeb2 filters, and eojeol rules with Kiwi-based ones.

    python benchmarks/korean_rules.py DATA                    DATA holds text/ko and html/chardet_encoding_corpus.tar.gz
    python benchmarks/korean_rules.py DATA --documents 40     fewer documents of each source
    python benchmarks/korean_rules.py DATA --sample 1         other documents of each source, and other noise
    python benchmarks/korean_rules.py DATA --keep FILE        keep morphemes and datatrove's verdicts there, and read them the next time

Needs datatrove and kiwipiepy < 0.22. Good texts are an even sample of each Korean source, and pieces of the short ones joined. Bad texts
are Korean feeds with their tags cut out, and noise of the kinds that the web has, made from the real texts with a fixed seed and mixed with
prose in shares from nothing to seven tenths, so that both verdicts occur on both sides of every border. Documents are halved by the hash of
their text: what fineweb2-ko-eojeol has of its own was fitted on the half `tuned` of sample 0; sample 1 was never used to choose anything.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import tarfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from pipeline.classify.metrics import area_under_curve
from pipeline.refine.language import Language
from pipeline.refine.lines import Lines
from pipeline.refine.morphemes import COLUMNS, STOP_MORPHEMES, Morphemes, kiwi_version
from pipeline.refine.signals import Signals
from pipeline.refine.stages import load_preset
from pipeline.rules import apply_rules

MAX_CHARS = 2000
"""Documents are cut at the last line end before this: Kiwi and datatrove together take a minute per million characters."""

SHORT = {"movie_reviews_nsmc_raw": 40, "news_comments_kocohub": 30, "news_dps_sample": 3}
"""Sources of short texts, and how many of them are joined (line by line, one blank line between for news) to make a document."""

PROSE_SHARES = (0.0, 0.2, 0.4, 0.7)

SOFTWARE = ("blog_johngrib", "docs_ms_cpp_ko", "docs_react_ko")
"""Sources of pages about software, half of which are in `mixed`: the noise made from them tells what wider limits for code cost."""

ALPHA_LIMIT = 0.791
"""FineWeb2's limit on words without a letter (configs/kor_Hang.yml), which `estimated_alpha_ratio` was made for."""

WHOLE_DOCUMENTS = 2000
"""Whole documents of each source, evenly sampled, on which presets that need no Kiwi are tried."""


def good_texts(folder: Path, documents: int, sample: int = 0) -> Iterator[tuple[str, str]]:
    """(source, text): every k-th document of each source, cut to MAX_CHARS, and joined documents of the short sources.

    Sample 1 begins half a step later, so it has other documents wherever a source has enough.
    """
    for path in sorted(folder.glob("*.jsonl.gz")):
        source = path.name.removesuffix(".jsonl.gz")
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            texts = [json.loads(line)["text"] for line in lines]
        step = max(1, len(texts) // documents)
        yield from ((source, shortened(text)) for text in texts[sample * step // 2 :: step][:documents])
        if source in SHORT:
            many = SHORT[source]
            step = max(many, len(texts) // documents)
            starts = range(sample * step // 2, len(texts) - many, step)
            gap = "\n\n" if source.startswith("news_dps") else "\n"
            yield from ((f"{source} x{many}", shortened(gap.join(texts[start : start + many]))) for start in list(starts)[:documents])


def shortened(text: str) -> str:
    """The text up to the last line end within MAX_CHARS."""
    return text if len(text) <= MAX_CHARS else text[: max(text.rfind("\n", 0, MAX_CHARS), 0) or MAX_CHARS]


def feed_texts(path: Path) -> Iterator[tuple[str, str]]:
    """(source, text): real Korean feeds and pages in legacy encodings, their tags cut out and nothing else, in parts of MAX_CHARS."""
    with tarfile.open(path) as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is None or not member.name.startswith(("CP949/", "EUC-KR/")):
                continue
            text = re.sub(r"<[^<>]{0,4000}>|&[a-z]{2,6};", " ", file.read().decode("cp949", "replace"))
            text = re.sub(r"[ \t]+", " ", re.sub(r"\s*\n\s*", "\n", text))
            yield from (("feeds, tags cut", text[start : start + MAX_CHARS]) for start in range(0, len(text), MAX_CHARS))


def noise_makers(prose: Sequence[str], rng: random.Random) -> dict[str, Callable[[], str]]:
    """Kind -> a function that makes one noisy text, about 600 characters, from the words and sentences of `prose`."""
    words = [word for text in prose for word in text.split()]
    short_words = [word for word in words if re.fullmatch("[가-힣]{2,4}", word)]
    sentences = [part for text in prose for part in re.split(r"(?<=[.?!])\s+|\n+", text) if 15 < len(part) < 120]

    def some(pool: Sequence[str], count: int) -> list[str]:
        return [rng.choice(pool) for _ in range(count)]

    def date() -> str:
        return f"20{rng.randrange(5, 26):02}-{rng.randrange(1, 13):02}-{rng.randrange(1, 29):02}"

    def price() -> str:
        return f"{rng.randrange(1, 400) * 500:,}원"

    def run(text: str, length: int) -> str:
        start = rng.randrange(max(1, len(text) - length))
        return text[start : start + length]

    def repeated(pool: Sequence[str], distinct: int, count: int) -> list[str]:
        chosen = some(pool, distinct)
        return [rng.choice(chosen) for _ in range(count)]

    return {
        "menu": lambda: "\n".join(" ".join(some(short_words, rng.randrange(1, 4))) for _ in range(80)),
        "menu, inline": lambda: " | ".join(" ".join(some(short_words, rng.randrange(1, 3))) for _ in range(100)),
        "keyword spam": lambda: " ".join(
            f"{rng.choice(keys)} {rng.choice(short_words)}" for keys in [some(short_words, 3)] for _ in range(90)
        ),
        "keywords, commas": lambda: ", ".join(some(short_words, 140)),
        "hashtags": lambda: " ".join(f"#{noun}" for noun in some(short_words, 120)),
        "letter-spaced": lambda: " ".join(" ".join(some(sentences, 12)).replace(" ", "")),
        "no spaces": lambda: "\n".join("".join(some(sentences, 3)).replace(" ", "") for _ in range(4)),
        "repeated lines": lambda: "\n".join(repeated(sentences, rng.randrange(2, 8), 14)),
        "repeated phrase": lambda: " ".join(
            f"{' '.join(phrase)} {' '.join(some(words, rng.randrange(1, 9)))}"
            for phrase in [some(words, rng.randrange(2, 7))]
            for _ in range(25)
        ),
        "repeated sentence": lambda: " ".join(repeated(sentences, rng.randrange(2, 6), 14)),
        "price list": lambda: "\n".join(f"{' '.join(some(short_words, 2))} {price()}" for _ in range(40)),
        "price line": lambda: " ".join(f"{rng.choice(short_words)} {price()} ({rng.randrange(100)})" for _ in range(50)),
        "chat": lambda: "\n".join(f"{rng.choice(words)} {rng.choice('ㅋㅎㅠㅜ') * rng.randrange(2, 12)}" for _ in range(60)),
        "fragments": lambda: "\n".join(f"{run(rng.choice(prose), 30).strip()}{rng.choice(('...', '…', ''))}" for _ in range(20)),
        "machine list": lambda: "\n".join(
            f"{date()} {rng.randrange(10**6)} {rng.choice(short_words)} {rng.random() * 100:.2f}" for _ in range(25)
        ),
        "log": lambda: "\n".join(f"[{date()} {rng.randrange(24):02}:{rng.randrange(60):02}] {rng.choice(sentences)}" for _ in range(10)),
        "board list": lambda: "\n".join(
            f"{number} {' '.join(some(words, 4))} {rng.choice(short_words)} {date()} 조회 {rng.randrange(999)}" for number in range(25)
        ),
        "page frame": lambda: "\n".join(
            rng.choice(
                ("로그인", "회원가입", "이용약관", "개인정보처리방침", "목록", "이전글 다음글", "페이스북 공유", "댓글 쓰기", "검색")
            )
            for _ in range(60)
        ),
        "bullets": lambda: "\n".join(f"- {' '.join(some(words, rng.randrange(2, 7)))}" for _ in range(40)),
        "wrapped lines": lambda: re.sub(r"(.{12,22}) ", r"\1\n", " ".join(some(sentences, 12))),
        "word salad": lambda: " ".join(some(words, 150)),
        "broken bytes": lambda: "".join("�" if rng.random() < 0.05 else letter for letter in " ".join(some(sentences, 12))),
        "numbers": lambda: " ".join(str(rng.randrange(10**4)) if rng.random() < 0.5 else rng.choice(short_words) for _ in range(150)),
    }


def noisy_texts(prose: Sequence[str], documents: int, sample: int = 0) -> Iterator[tuple[str, str]]:
    """(kind, text): `documents` of each kind of noise, after prose that makes up one of PROSE_SHARES of the text."""
    rng = random.Random(3 + sample)
    for kind, make in noise_makers(prose, rng).items():
        for number in range(documents):
            noise, share = make(), PROSE_SHARES[number % len(PROSE_SHARES)]
            room = int(len(noise) * share / (1 - share))
            text = rng.choice(prose)
            yield f"noise: {kind}", f"{text[:room]}\n{noise}".lstrip("\n")


def datatrove_verdicts(texts: Sequence[str]) -> list[str]:
    """datatrove's reason to drop each text, `` where it is kept: the filters of FineWeb2's pipeline with configs/kor_Hang.yml."""
    from datatrove.data import Document
    from datatrove.pipeline.filters import FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter

    korean = "kor_Hang"
    filters = (
        GopherRepetitionFilter(
            language=korean,
            dup_para_frac=0,
            dup_line_char_frac=0,
            dup_para_char_frac=0,
            dup_line_frac=0.374,
            top_n_grams=((2, 0.282), (3, 0.228), (4, 0.185)),
            dup_n_grams=((5, 0.201), (6, 0.184), (7, 0.168), (8, 0.154), (9, 0.14), (10, 0.127)),
        ),
        FineWebQualityFilter(language=korean, short_line_thr=999, char_duplicates_ratio=0.1, line_punct_thr=0.062, new_line_ratio=0.196),
        GopherQualityFilter(
            language=korean,
            min_avg_word_length=1,
            max_avg_word_length=6,
            stop_words=sorted(STOP_MORPHEMES),
            max_non_alpha_words_ratio=ALPHA_LIMIT,
            min_stop_words=2,
        ),
    )
    reasons = []
    for number, text in enumerate(texts):
        document = Document(text=text, id=str(number))
        verdicts = (one.filter(document) for one in filters)
        reasons.append(next((verdict[1] for verdict in verdicts if verdict is not True), ""))
    return reasons


def reasons_of(table: pa.Table, preset: str) -> list[str]:
    """The reason for which a shipped preset drops each row, `` where it is kept."""
    return pc.fill_null(apply_rules(table, load_preset(preset)).column("drop_reason"), "").to_pylist()


def kappa(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Cohen's kappa (1960) of two boolean verdicts: agreement beyond chance; nan where both give one verdict only."""
    observed = float((ours == theirs).mean())
    expected = float(ours.mean() * theirs.mean() + (1 - ours.mean()) * (1 - theirs.mean()))
    return (observed - expected) / (1 - expected) if expected < 1 else float("nan")


def groups(sources: Sequence[str]) -> dict[str, np.ndarray]:
    """Which rows each source has, and real text, noise and all."""
    named = np.array(sources)
    noise = np.char.startswith(named, "noise")
    found = {source: named == source for source in dict.fromkeys(sources)}
    both = {"**real text**": ~noise, "**noise**": noise} if noise.any() and not noise.all() else {}
    return found | both | {"**all**": np.ones(len(named), bool)}


def print_agreement(title: str, names: tuple[str, str], reasons: tuple[list[str], list[str]], sources: list[str], rows: np.ndarray) -> None:
    """The confusion table per source, kappa, and which rules decide where the two differ."""
    ours, theirs = (np.array([bool(reason) for reason in side]) for side in reasons)
    print(
        f"\n### {title}\n\n| source | documents | both keep | both drop | only {names[0]} drops | only {names[1]} drops | agree | kappa |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for source, chosen in groups(sources).items():
        left, right = ours[chosen & rows], theirs[chosen & rows]
        if len(left):
            cells = (~left & ~right, left & right, left & ~right, ~left & right)
            numbers = " | ".join(str(int(cell.sum())) for cell in cells)
            value = kappa(left, right)
            print(f"| {source} | {len(left)} | {numbers} | {(left == right).mean():.3f} | {'-' if np.isnan(value) else f'{value:.3f}'} |")
    for side, other, name in ((0, 1, names[0]), (1, 0, names[1])):
        alone = Counter(reasons[side][row] for row in np.flatnonzero(rows) if reasons[side][row] and not reasons[other][row])
        print(f"\nOnly {name} drops: {', '.join(f'{reason} {count}' for reason, count in alone.most_common(12)) or 'none'}.")


def print_kappas(verdicts: dict[str, list[str]], sources: list[str], held_out: np.ndarray) -> None:
    """Cohen's kappa of the presets with each other and datatrove, on both halves."""
    noise = np.char.startswith(np.array(sources), "noise")
    rows = {
        "tuned half": ~held_out,
        "held-out half": held_out,
        "held out, real text": held_out & ~noise,
        "held out, noise": held_out & noise,
        "both halves": np.ones(len(sources), bool),
    }
    print(f"\n### Cohen's kappa\n\n| pair | {' | '.join(rows)} |\n|---{'|---' * len(rows)}|")
    names = list(verdicts)
    for number, one in enumerate(names):
        for other in names[number + 1 :]:
            left, right = (np.array([bool(reason) for reason in verdicts[name]]) for name in (one, other))
            values = " | ".join(f"{kappa(left[chosen], right[chosen]):.3f}" for chosen in rows.values())
            print(f"| {one} and {other} | {values} |")


def print_dropped(title: str, verdicts: dict[str, list[str]], sources: list[str]) -> None:
    """What share of each source every preset drops, and the most frequent reasons of the first one."""
    print(f"\n### {title}\n\n| source | documents | {' | '.join(verdicts)} | reasons of {next(iter(verdicts))} |")
    print(f"|---|---{'|---' * len(verdicts)}|---|")
    for source, chosen in groups(sources).items():
        rows = np.flatnonzero(chosen)
        reasons = [[side[row] for row in rows if side[row]] for side in verdicts.values()]
        shares = " | ".join(f"{len(side) / len(rows):.1%}" for side in reasons)
        common = ", ".join(f"{reason} {count}" for reason, count in Counter(reasons[0]).most_common(3))
        print(f"| {source} | {len(rows)} | {shares} | {common or '-'} |")


def whole_texts(folder: Path) -> Iterator[tuple[str, str]]:
    """(source, text): whole documents of each Korean source whose texts are documents."""
    for path in sorted(folder.glob("*.jsonl.gz")):
        source = path.name.removesuffix(".jsonl.gz")
        if source not in SHORT or source.startswith("news_dps"):
            with gzip.open(path, "rt", encoding="utf-8") as lines:
                texts = [json.loads(line)["text"] for line in lines]
            yield from ((source, text) for text in texts[:: max(1, len(texts) // WHOLE_DOCUMENTS)])


def korean(texts: Sequence[tuple[str, str]]) -> pa.Table:
    """source, text, lang and what presets without Kiwi look at, of the texts that are Korean or mixed."""
    table = pa.table({"source": [source for source, _ in texts], "text": pa.array([text for _, text in texts], pa.large_string())})
    return judged(table)


def judged(table: pa.Table) -> pa.Table:
    """`table` with signals and language; rows in other languages are left out, which no preset for Korean judges."""
    table = Language(keep=(), min_score=0)(Signals()(Lines(cut=False)(table)))
    return table.filter(pc.is_in(table.column("lang"), pa.array(["ko", "mixed"])))


def measured(data: Path, documents: int, sample: int, keep: Path | None) -> pa.Table:
    """source, text, datatrove's verdict and every column of ours, of all texts; slow parts are read from `keep` if it is there."""
    if keep and keep.exists():
        table = pq.read_table(keep)
    else:
        good = list(good_texts(data / "text/ko", documents, sample))
        prose = [text for source, text in good if source in ("petitions", "wiki_korquad_contexts", "news_dps_sample")]
        noise = noisy_texts(prose, max(4, documents // 4), sample)
        texts = good + list(feed_texts(data / "html/chardet_encoding_corpus.tar.gz")) + list(noise)
        texts = list({text: (source, text) for source, text in texts if text.strip()}.values())
        table = pa.table({"source": [source for source, _ in texts], "text": pa.array([text for _, text in texts], pa.large_string())})
        table = Signals()(table)
        started = time.process_time()
        table = Morphemes(kiwi_version())(table).select(["source", "text", *COLUMNS])
        seconds, characters = time.process_time() - started, pc.sum(pc.utf8_length(table.column("text"))).as_py()
        print(f"{kiwi_version()}: {characters / seconds:,.0f} characters per CPU second")
        table = table.append_column("datatrove", pa.array(datatrove_verdicts(table.column("text").to_pylist())))
        if keep:
            pq.write_table(table, keep)
    return judged(table)


def main() -> None:
    """Measure, and print one table per comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--documents", type=int, default=200)
    parser.add_argument("--sample", type=int, choices=(0, 1), default=0)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    table = measured(options.data, options.documents, options.sample, options.keep)
    sources, texts = table.column("source").to_pylist(), table.column("text").to_pylist()
    held_out = np.array([xxhash.xxh3_64_intdigest(text.encode()) & 1 for text in texts], bool)
    every = np.ones(len(texts), bool)
    verdicts = {name: reasons_of(table, name) for name in ("onnuri-ko", "fineweb2-ko-eojeol", "fineweb2-ko")}
    verdicts["datatrove"] = table.column("datatrove").to_pylist()
    print(f"{len(texts)} documents, {sum(map(len, texts)):,} characters")

    print_kappas(verdicts, sources, held_out)
    counted = table.filter(pa.array(held_out)).filter(pc.field("alpha_morpheme_ratio").is_valid())
    estimate, exact = (counted.column(name).to_numpy() for name in ("estimated_alpha_ratio", "alpha_morpheme_ratio"))
    area = area_under_curve(estimate, exact >= ALPHA_LIMIT)
    print(f"\nestimated_alpha_ratio for alpha_morpheme_ratio >= {ALPHA_LIMIT}, held-out half: AUC {area:.3f}")
    for one, other, title, rows in (
        ("fineweb2-ko", "datatrove", "with kor_Hang, all documents", every),
        ("fineweb2-ko-eojeol", "fineweb2-ko", "tuned half", ~held_out),
        ("fineweb2-ko-eojeol", "fineweb2-ko", "held-out half", held_out),
        ("fineweb2-ko-eojeol", "datatrove", "held-out half", held_out),
        ("onnuri-ko", "fineweb2-ko", "held-out half", held_out),
    ):
        print_agreement(f"{one} and {other}, {title}", (one, other), (verdicts[one], verdicts[other]), sources, rows)
    print_dropped("Dropped of these documents", verdicts, sources)

    software = [text for source, text in good_texts(options.data / "text/ko", options.documents, options.sample) if source in SOFTWARE]
    noise = korean(list(noisy_texts(software, max(4, options.documents // 4), options.sample)))
    kinds = [f"noise, {language}" for language in noise.column("lang").to_pylist()]
    presets = ("onnuri-ko", "fineweb2-ko-eojeol")
    print_dropped("Dropped of noise made from pages about software", {name: reasons_of(noise, name) for name in presets}, kinds)
    whole = korean(list(whole_texts(options.data / "text/ko")))
    sources = whole.column("source").to_pylist()
    print_dropped("Dropped of whole documents", {name: reasons_of(whole, name) for name in presets}, sources)


if __name__ == "__main__":
    main()
