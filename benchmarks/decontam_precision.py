"""How good the decontaminator's decisions are: on written cases, on clean text, on changed and on rephrased benchmark items.

    python benchmarks/decontam_precision.py DATA [--part cases | planted | clean | rephrased] [--length N] [--hangul-length N] [--limit N]

DATA holds `benchmarks/`, `text/en`, `text/ko` and `labelled/decontam`. The cases are in `benchmarks/decontam_cases`: `items_*.jsonl` are
invented benchmarks; `leaks.jsonl` documents labelled with the items they leak and how (label `leak`, or `undecided` where reasonable
people disagree: other numbers, other words, another language); `negatives.jsonl` documents that share text with items and leak none.

cases: documents caught per kind, beside rules of the literature (decontam_rules.py), with a sweep of every knob. planted: benchmark texts
whole, in part, and with changed characters (decontam_planted.py). clean: every decisive match in public-domain, government, law and
review text. rephrased: LLM-reworded GSM8K and HumanEval items, by match length and code language.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from decontam_planted import KINDS, own_matches, planted_groups
from decontam_rules import PEERS, likeness, paper_runs

from decontam import MatchSettings, Policy, Scanner, build_index, decisive, read_benchmarks
from decontam.common import count_documents
from decontam.readers import read_rows

CASES = Path(__file__).parent / "decontam_cases"
CLEAN_ENGLISH = ("books_classic", "peps", "digitalgov")
EXCERPT_CHARS = 60

POLICY_SWEEP: dict[str, tuple[Any, ...]] = {
    "min_coverage": (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
    "long_factor": (1.0, 2.0, 3.0, 4.0, 6.0, 10.0),
    "max_frequency": (1, 2, 3, 5, 10, 30, 200),
    "answered_coverage": (0.1, 0.2, 0.3, 0.4, 0.5),
    "max_corpus_documents": (1, 2, 3, 4, 5, 10, None),
    "short_texts": ("report", "answered", "always"),
}
PLANTED_SWEEP: dict[str, tuple[Any, ...]] = {"max_frequency": (1, 2, 3, 5, 10, 30, 1000), "min_coverage": (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)}
SETTINGS_SWEEP: dict[str, tuple[int, ...]] = {
    "length": (30, 40, 50, 60, 80),
    "hangul_length": (12, 16, 20, 24, 30, 50),
}


@dataclass(frozen=True)
class Case:
    """One document, the `(benchmark, item)` pairs it leaks, and whether it counts: `leak`, `undecided` or `clean`."""

    id: str
    kind: str
    label: str
    items: frozenset[tuple[str, str]]
    text: str


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parts: dict[str, Callable[[Path, MatchSettings], None]] = {
        "cases": report_cases,
        "planted": lambda data, settings: report_planted(data, settings, chosen.limit),
        "clean": report_clean,
        "rephrased": report_rephrased,
    }
    parser.add_argument("--part", choices=parts, help="print only this part")
    parser.add_argument("--length", type=int, default=MatchSettings.length)
    parser.add_argument("--hangul-length", type=int, default=MatchSettings.hangul_length)
    parser.add_argument("--limit", type=int, default=6000, help="texts to plant of each group, evenly spaced")
    chosen = parser.parse_args(arguments)
    settings = with_length(MatchSettings(), chosen.length, chosen.hangul_length)
    for name, report in parts.items():
        if chosen.part in (None, name):
            report(chosen.data, settings)


def with_length(settings: MatchSettings, length: int, hangul_length: int) -> MatchSettings:
    """Other lengths of a match; a text counts as short up to these."""
    short, hangul_short = min(settings.short_length, length), min(settings.hangul_short_length, hangul_length)
    return replace(settings, length=length, hangul_length=hangul_length, short_length=short, hangul_short_length=hangul_short)


def load_cases() -> list[Case]:
    """The documents of `leaks.jsonl` (with filler in front where a page length is given) and of `negatives.jsonl`."""
    filler: dict[str, list[str]] = {}
    for _, record in read_rows(CASES / "filler.jsonl"):
        filler.setdefault(record["lang"], []).append(record["text"])
    cases = []
    for name in ("leaks", "negatives"):
        for number, record in read_rows(CASES / f"{name}.jsonl"):
            text = record["text"]
            if "page_chars" in record:
                text = page(filler[record["lang"]], record["page_chars"], first=number) + text
            items = frozenset(tuple(item.split("/", 1)) for item in record.get("items", ()))
            cases.append(Case(record["id"], record["kind"], record["label"], items, text))
    return cases


def page(paragraphs: Sequence[str], chars: int, first: int) -> str:
    """At least `chars` characters of these paragraphs in turn, from the given one on."""
    parts: list[str] = []
    while sum(map(len, parts)) < chars:
        parts.append(paragraphs[(first + len(parts)) % len(paragraphs)] + "\n\n")
    return "".join(parts)


def case_items() -> pa.Table:
    return read_benchmarks(CASES / "items_*.jsonl")


def scan_cases(items: pa.Table, cases: Sequence[Case], settings: MatchSettings) -> pa.Table:
    """Matches of the cases' texts, with `corpus_documents` counted over the cases, which stand in for a corpus."""
    matches = Scanner(build_index(items, settings)).scan(column(case.text for case in cases))
    return matches.append_column("corpus_documents", pa.array(count_documents(matches, matches["row"].to_numpy())))


def column(texts: Iterable[str]) -> pa.Array:
    return pa.array(list(texts), pa.large_string())


def policy_with(knob: str, value: Any) -> Policy:
    """The default policy but for one knob."""
    return replace(Policy(), **{knob: value})


def flagged(matches: pa.Table, documents: int, policy: Policy | None = None) -> np.ndarray:
    """float64[documents]: 1 where a document has a decisive match."""
    result = np.zeros(documents)
    result[matches["row"].to_numpy()[decisive(matches, policy).to_numpy(zero_copy_only=False)]] = 1
    return result


@dataclass(frozen=True)
class Score:
    """Documents: `leak` and `undecided` ones caught, `clean` ones flagged; shares of the leaks and of all that was flagged."""

    leak: float
    undecided: float
    clean: float
    leaks: int

    @property
    def recall(self) -> float:
        return self.leak / self.leaks

    @property
    def precision(self) -> float:
        return self.leak / (self.leak + self.clean) if self.leak + self.clean else 1.0

    @property
    def f1(self) -> float:
        return 2 * self.leak / (self.leak + self.clean + self.leaks)

    def cells(self) -> str:
        return f"{self.leak:g} | {self.undecided:g} | {self.clean:g} | {self.precision:.3f} | {self.recall:.3f} | {self.f1:.3f} |"


def score(flags: np.ndarray, cases: Sequence[Case]) -> Score:
    """Counts of flagged documents; a method that draws at random has flags between 0 and 1, and its counts are expectations."""
    label = np.array([case.label for case in cases])
    counts = {name: round(float(flags[label == name].sum()), 1) for name in ("leak", "undecided", "clean")}
    return Score(**counts, leaks=int((label == "leak").sum()))


def report_cases(data: Path, settings: MatchSettings) -> None:
    cases, items = load_cases(), case_items()
    matches = scan_cases(items, cases, settings)
    texts = [case.text for case in cases]
    methods = {"default": flagged(matches, len(cases)), "any long match": flagged_any(matches, len(cases))}
    methods |= {name: rule(items, texts) for name, rule in PEERS.items()}
    print(f"\n{len(set(zip(*(items[name].to_pylist() for name in ('benchmark', 'item')), strict=True)))} items, {len(cases)} documents")
    for label, title in (("leak", "leaks caught"), ("undecided", "undecided documents flagged"), ("clean", "clean documents flagged")):
        print(f"\n| {title} | documents | " + " | ".join(methods) + " |\n|---|---|" + "---|" * len(methods))
        kinds = dict.fromkeys(case.kind for case in cases if case.label == label)
        for kind in kinds:
            rows = np.array([case.kind == kind for case in cases])
            print(f"| {kind} | {rows.sum()} | " + " | ".join(f"{flags[rows].sum():.3g}" for flags in methods.values()) + " |")
    heading = "leaks | undecided | clean | precision | recall | F1 |\n|---|---|---|---|---|---|---|"
    print(f"\n| rule | {heading}")
    for name, flags in methods.items():
        print(f"| {name} | {score(flags, cases).cells()}")
    runs = [score(flags, cases) for flags in paper_runs(items, texts)]
    for name in ("precision", "recall"):
        values = [getattr(run, name) for run in runs]
        print(f"{name} of mode=paper over {len(runs)} seeds: {np.mean(values):.3f}, from {min(values):.3f} to {max(values):.3f}")
    print(f"\n| knob | {heading}")
    best: dict[str, tuple[Any, Score]] = {}
    for name, value, flags in sweep(matches, items, cases, settings):
        result = score(flags, cases)
        print(f"| {name} {value} | {result.cells()}")
        if name not in best or result.f1 > best[name][1].f1:
            best[name] = (value, result)
    print("\n| knob | default | best F1 of these cases at | F1 |\n|---|---|---|---|")
    for name, (value, result) in best.items():
        default = getattr(settings if name in SETTINGS_SWEEP else Policy(), name)
        print(f"| {name} | {default} | {value} | {result.f1:.3f} |")
    report_errors(matches, cases)
    real = read_benchmarks(data / "benchmarks")
    scanner = Scanner(build_index(real, settings))
    matches = scanner.scan(column(texts))
    print("\ndecisive matches of the cases with the benchmarks of DATA (the cases leak none of those):")
    print_matches(matches.filter(decisive(matches)), [case.id for case in cases], texts)


def sweep(matches: pa.Table, items: pa.Table, cases: Sequence[Case], settings: MatchSettings) -> Iterator[tuple[str, Any, np.ndarray]]:
    """`(knob, value, flags)` with all other knobs at their defaults. The policy reads the table, so only lengths need another scan."""
    for name, values in POLICY_SWEEP.items():
        for value in values:
            yield name, value, flagged(matches, len(cases), policy_with(name, value))
    for name, values in SETTINGS_SWEEP.items():
        for value in values:
            lengths = {"length": settings.length, "hangul_length": settings.hangul_length, name: value}
            if lengths["hangul_length"] <= lengths["length"]:
                yield name, value, flagged(scan_cases(items, cases, with_length(settings, **lengths)), len(cases))


def report_planted(data: Path, settings: MatchSettings, limit: int) -> None:
    """Share of the benchmark texts, each planted in a document of its own, whose own item gets a decisive match there."""
    everything = read_benchmarks(data / "benchmarks")
    scanner = Scanner(build_index(everything, settings))
    filler = [record["text"] for _, record in read_rows(CASES / "filler.jsonl")]
    groups = planted_groups(everything, settings, limit)
    scans = {(name, kind): own_matches(scanner, items, kind, filler) for name, items in groups.items() for kind in KINDS}

    def share(names: Sequence[str], kind: str, policy: Policy) -> str:
        caught = sum(float(flagged(scans[name, kind], len(groups[name]), policy).sum()) for name in names)
        return f"{caught / max(1, sum(len(groups[name]) for name in names)):.4f}"

    print("\n| planted | texts | " + " | ".join(KINDS) + " |\n|---|---|" + "---|" * len(KINDS))
    for name, items in groups.items():
        print(f"| {name} | {len(items)} | " + " | ".join(share([name], kind, Policy()) for kind in KINDS) + " |")
    print("\n| questions and answers, with | " + " | ".join(KINDS) + " |\n|---|" + "---|" * len(KINDS))
    for knob, values in PLANTED_SWEEP.items():
        for value in values:
            cells = (share(["questions", "answers"], kind, policy_with(knob, value)) for kind in KINDS)
            print(f"| {knob} {value} | " + " | ".join(cells) + " |")


def flagged_any(matches: pa.Table, documents: int) -> np.ndarray:
    """Whether a document has any match but a whole short item or a passage."""
    reported = pc.or_(pc.less(matches["length"], matches["required"]), pc.equal(matches["field"], "passage"))
    result = np.zeros(documents)
    result[matches["row"].to_numpy()[~reported.to_numpy()]] = 1
    return result


def report_errors(matches: pa.Table, cases: Sequence[Case]) -> None:
    """Every leak that was missed, every clean document that was flagged, and how many named items were the wrong ones."""
    hits: dict[int, set[tuple[str, str]]] = {}
    for row in matches.filter(decisive(matches)).to_pylist():
        hits.setdefault(row["row"], set()).add((row["benchmark"], row["item"]))
    found = {number: hits.get(number, set()) for number in range(len(cases))}
    labelled = sum(len(case.items) for case in cases if case.label == "leak")
    right = sum(len(case.items & found[number]) for number, case in enumerate(cases) if case.label == "leak")
    other = sum(len(found[number] - case.items) for number, case in enumerate(cases) if case.label == "leak")
    print(f"\n(document, item) pairs of the leaks: {right} of {labelled} found, {other} more reported that are not labelled")
    print("missed:", ", ".join(case.id for number, case in enumerate(cases) if case.label == "leak" and not found[number]))
    print("flagged though clean:")
    clean = pc.is_in(matches["row"], value_set=pa.array([n for n, case in enumerate(cases) if case.label == "clean"], pa.int64()))
    chosen = pc.and_(decisive(matches), clean)
    print_matches(matches.filter(chosen), [case.id for case in cases], [case.text for case in cases])


def report_clean(data: Path, settings: MatchSettings) -> None:
    scanner = Scanner(build_index(read_benchmarks(data / "benchmarks"), settings))
    files = [data / "text" / "en" / f"{name}.jsonl.gz" for name in CLEAN_ENGLISH]
    files += sorted((data / "text" / "ko").glob("*.jsonl.gz"))
    lists = []
    policies = {f"coverage {share}": Policy(min_coverage=share) for share in (0.3, 0.5, 0.6, 0.7, 0.8)}
    policies |= {f"short {choice}": policy_with("short_texts", choice) for choice in ("report", "always")}
    print("\n| file | documents | MB | any match | short texts and passages only | " + " | ".join(policies) + " |")
    print("|---" * (5 + len(policies)) + "|")
    for path in files:
        ids, texts = read_documents(path)
        matches = scanner.scan(column(texts))
        any_match = len(set(matches["row"].to_pylist()))
        lesser = any_match - int(flagged_any(matches, len(texts)).sum())
        counts = [int(flagged(matches, len(texts), policy).sum()) for policy in policies.values()]
        size = sum(len(text.encode()) for text in texts) / 1e6
        cells = (path.name.split(".")[0], len(texts), f"{size:.1f}", any_match, lesser, *counts)
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)
        lists.append((path.name, ids, texts, matches, decisive(matches)))
    for name, ids, texts, matches, chosen in lists:
        rest = matches.filter(pc.invert(chosen)).sort_by([("coverage", "descending"), ("length", "descending")])
        print(f"\n{name}: decisive")
        print_matches(matches.filter(chosen), ids, texts)
        print(f"{name}: {len(rest)} other matches")
        print_matches(rest, ids, texts)


def read_documents(path: Path) -> tuple[list[str], list[str]]:
    records = [record for _, record in read_rows(path)]
    return [record["id"] for record in records], [record["text"] for record in records]


def print_matches(matches: pa.Table, ids: Sequence[str], texts: Sequence[str]) -> None:
    """Of each document and benchmark the longest match, with at most EXCERPT_CHARS characters of it, and how many items have matches."""
    groups: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for match in matches.to_pylist():
        groups.setdefault((match["row"], match["benchmark"]), []).append(match)
    for (row, benchmark), found in groups.items():
        match = max(found, key=lambda one: (one["length"], one["coverage"]))
        more = len({one["item"] for one in found}) - 1
        what = f"{benchmark} {match['item']}{f' and {more} more' * bool(more)} | {match['field']}"
        numbers = f"{match['length']} | {match['coverage']:.2f} | {match['frequency']}"
        print(f"| {ids[row]} | {what} | {numbers} | {excerpt(texts[row], match['start'], match['end'])} |")


def excerpt(text: str, start: int, end: int) -> str:
    """The first EXCERPT_CHARS characters of bytes start to end, on one line, without what a terminal or a Markdown table would obey."""
    words_of_span = text.encode()[start:end].decode().split()
    shown = " ".join(words_of_span)[:EXCERPT_CHARS].replace("|", "/")
    return "".join(letter if letter.isprintable() else "?" for letter in shown)


def report_rephrased(data: Path, settings: MatchSettings) -> None:
    items = read_benchmarks([data / "benchmarks" / name for name in ("gsm8k_test.jsonl.gz", "humaneval.jsonl.gz")])
    records = [record for path in sorted((data / "labelled" / "decontam").glob("*.gz")) for _, record in read_rows(path)]
    texts = [record["text"] for record in records]
    prefix = {"GSM8K": "gsm8k-test-", "HumanEval": "HumanEval/"}
    own = [f"{prefix[record['benchmark']]}{record['test_index']}" for record in records]
    groups = np.array([" ".join(filter(None, (record["benchmark"], record.get("code_lang")))) for record in records])
    names = list(dict.fromkeys(groups.tolist()))
    results: dict[str, np.ndarray] = {}
    for length in (20, 30, 40, 50):
        shorter = with_length(settings, length, min(length, settings.hangul_length))
        matches = Scanner(build_index(items, shorter)).scan(column(texts))
        matches = matches.filter(pc.equal(matches["item"], pa.array(own).take(matches["row"])))
        results[f"own item, {length} characters, any"] = flagged_any(matches, len(texts))
        results[f"own item, {length} characters, decisive"] = flagged(matches, len(texts))
    results |= {f"any item, {name}": rule(items, texts) for name, rule in PEERS.items()}
    print("\n| share of rephrased texts found | " + " | ".join(names) + " |\n|---|" + "---|" * len(names))
    print("| texts | " + " | ".join(str((groups == name).sum()) for name in names) + " |")
    for label, flags in results.items():
        print(f"| {label} | " + " | ".join(f"{flags[groups == name].mean():.3f}" for name in names) + " |")
    stretch, kept = likeness(items, own, texts)
    for label, values, share in (
        ("longest common stretch", stretch, 0.5),
        ("longest common stretch", stretch, 0.99),
        ("words kept", kept, 0.5),
    ):
        quantiles = (np.quantile(values[groups == name], share) for name in names)
        print(f"| {label}, {share:.0%} quantile | " + " | ".join(f"{value:.3g}" for value in quantiles) + " |")


if __name__ == "__main__":
    main()
