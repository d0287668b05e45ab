"""The plan of the sample: which documents are hidden in the crawl, in how many copies, and what must become of each."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

from pipeline.sample import noise, variants
from pipeline.sample.articles import DOMAINS, LANGUAGES, Article, Writer
from pipeline.sample.benchmark import Item
from pipeline.sample.grammar import shuffled

KEPT, DROPPED, QUARANTINED = "kept", "dropped", "quarantined"
ROW_LOCAL = ("ingest", "refine")
"""Segments that look at one row at a time; which of the two drops a hopeless text depends on the extractor, and either is right."""

SHARES = {
    "exact_duplicate": 0.06,
    "near_duplicate": 0.05,
    "near_miss": 0.03,
    "boilerplate": 0.025,
    "spam": 0.025,
    "repetition": 0.02,
    "too_short": 0.025,
    "foreign": 0.035,
    "pii": 0.03,
    "notice": 0.015,
    "opted_out": 0.01,
    "charset": 0.04,
    "leak": 0.04,
}
"""Planted documents of each kind per document of the sample; the rest, a little over 60 %, is clean and unique."""

CP949_SENTENCE = "똠방각하라는 별명과 펲시라는 상표, 뷁이라는 외침은 옛 완성형 표에 없는 글자로 적혀 있다."
"""Holds syllables of CP949 (UHC) that EUC-KR proper (KS X 1001) lacks."""

CHARSET_CASES = (
    # kind, bytes on the wire, label in the HTTP header, label in <meta>
    ("charset_header", "euc_kr", "EUC-KR", None),
    ("charset_meta", "euc_kr", None, "euc-kr"),
    ("charset_undeclared", "euc_kr", None, None),
    ("charset_cp949", "cp949", "euc-kr", "ks_c_5601-1987"),
    ("charset_declared_wrongly", "cp949", "utf-8", None),
    ("charset_utf8_as_euc_kr", "utf-8", "EUC-KR", "euc-kr"),
)


@dataclass(frozen=True)
class Plant:
    """One planted document and its fate: `expected` outcome, in one of `stages` (segment names) unless that is empty.

    `accept`: outcomes that count as right beside `expected`. `page`: HTML page, else a JSONL or Parquet record, None: either.
    `charset`: Python codec of the bytes; `http_charset` / `meta_charset`: labels shown to the reader, None for no label.
    `markers`: sentences that a kept document must contain. `secrets`: strings that no document of the corpus may contain.
    `cut`: lines that this document must have lost.
    """

    name: str
    kind: str
    text: str
    title: str
    language: str | None = None
    domain: str | None = None
    expected: str = KEPT
    accept: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    group: str | None = None
    duplicate_of: str | None = None
    benchmark_item: str | None = None
    page: bool | None = None
    charset: str = "utf-8"
    http_charset: str | None = "utf-8"
    meta_charset: str | None = "utf-8"
    markers: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    cut: tuple[str, ...] = ()
    fields: dict[str, str] = field(default_factory=dict)


def markers_of(article: Article) -> tuple[str, ...]:
    """The first, the middle and the last sentence: all there means that the text came through whole and readable."""
    sentences = article.sentences
    return (sentences[0], sentences[len(sentences) // 2], sentences[-1])


class Planner:
    """Draws the plants of one sample; the order of the calls in `plan` fixes the output for a seed."""

    def __init__(self, rng: random.Random, items: list[Item]) -> None:
        self.rng = rng
        self.items = items
        self.writer = Writer()
        self.plants: list[Plant] = []
        self._turn = 0

    def plan(self, documents: int) -> list[Plant]:
        """`documents` plants: each kind by its share of SHARES (at least one), a few hostile ones, one page cut short, the rest clean."""
        counts = {kind: max(1, round(share * documents)) for kind, share in SHARES.items()}
        self._noise(counts)
        self._charsets(max(len(CHARSET_CASES), counts["charset"]))
        for _ in range(counts["pii"]):
            self._pii()
        for number in range(counts["leak"]):
            self._leak(number)
        for number in range(counts["notice"]):
            self._notice(number)
        for _ in range(counts["opted_out"]):
            self._add(replace(self._clean(kind="opted_out"), page=True, expected=DROPPED, stages=("refine",), fields={"robots": "noai"}))
        self._hostile()
        self._add(replace(self._clean(kind="truncated"), page=True, expected=QUARANTINED, stages=("ingest",), markers=()))
        self._near_misses(counts["near_miss"])
        self._near_duplicates(counts["near_duplicate"])
        self._exact_duplicates(counts["exact_duplicate"])
        while len(self.plants) < documents:
            self._add(self._clean())
        return shuffled(self.rng, self.plants)

    def _add(self, plant: Plant) -> Plant:
        self.plants.append(plant)
        return plant

    def _name(self, kind: str) -> str:
        return f"{kind}-{len(self.plants):05d}"

    def _article(self, language: str | None = None) -> Article:
        """An article of the next language and domain in turn, so that all cells are equally large."""
        self._turn += 1
        chosen = language or LANGUAGES[self._turn % len(LANGUAGES)]
        return self.writer.article(chosen, DOMAINS[self._turn // len(LANGUAGES) % len(DOMAINS)], self.rng)

    def _clean(self, article: Article | None = None, kind: str = "clean") -> Plant:
        article = article or self._article()
        return Plant(
            name=self._name(kind),
            kind=kind,
            text=article.text,
            title=article.title,
            language=article.language,
            domain=article.domain,
            markers=markers_of(article),
        )

    def _copy(self, plant: Plant, kind: str, **changes: object) -> Plant:
        copied = replace(plant, name=self._name(kind), kind=kind, expected=DROPPED, stages=("dedup",), duplicate_of=plant.name)
        return self._add(replace(copied, **changes))  # type: ignore[arg-type]

    def _original(self, kind: str) -> Plant:
        plant = self._clean(kind=kind)
        return self._add(replace(plant, group=plant.name))

    def _exact_duplicates(self, count: int) -> None:
        """Clusters of two to four: as a record, as a UTF-8 page, and (Korean) as an undeclared or EUC-KR page."""
        planted = 0
        while planted < count:
            original = self._original("duplicated")
            copies = min(count - planted, 1 + int(self.rng.random() * 3))
            for copy in range(copies):
                legacy = {"charset": "euc_kr", "http_charset": "EUC-KR", "meta_charset": None, "page": True}
                korean_page = original.language == "ko" and copy == 0
                self._copy(original, "exact_duplicate", **(legacy if korean_page else {}))
            planted += copies

    def _near_duplicates(self, count: int) -> None:
        """Pairs only: two edited copies of one text may differ from each other by more than from the original."""
        for _ in range(count):
            original = replace(self._original("near_duplicated"), page=False)
            self.plants[-1] = original
            text = variants.near_duplicate(original.text, self.rng)
            self._copy(original, "near_duplicate", text=text, markers=tuple(line for line in original.markers if line in text))

    def _near_misses(self, count: int) -> None:
        for _ in range(count):
            article = self._article()
            original = self._add(replace(self._clean(article), page=False))
            text = variants.near_miss(article, self.writer, self.rng)
            self._add(replace(original, name=self._name("near_miss"), kind="near_miss", text=text, markers=(text.split("\n")[0],)))

    def _noise(self, counts: dict[str, int]) -> None:
        for kind in ("spam", "repetition", "boilerplate", "too_short"):
            for number in range(counts[kind]):
                language = LANGUAGES[number % len(LANGUAGES)]
                page: bool | None = False
                if kind == "spam":
                    text, page = noise.spam(language, self.rng), None
                elif kind == "repetition":
                    text = noise.repetition(self._article(language).sentences[0])
                elif kind == "boilerplate":
                    text, page = "\n".join(noise.menu_lines(language, self.rng, 20 + int(self.rng.random() * 30))), number // 2 % 2 == 0
                else:
                    text = noise.short(language, self.rng)
                title = self._article(language).title
                self._add(Plant(self._name(kind), kind, text, title, language, expected=DROPPED, stages=ROW_LOCAL, page=page))
        for number in range(counts["foreign"]):
            language = noise.FOREIGN_LANGUAGES[number % len(noise.FOREIGN_LANGUAGES)]
            text = noise.foreign(language, self.rng)
            title = f"{language} {number}"
            self._add(Plant(self._name("foreign"), "foreign", text, title, language, expected=DROPPED, stages=("refine",)))

    def _charsets(self, count: int) -> None:
        for number in range(count):
            kind, charset, http_charset, meta_charset = CHARSET_CASES[number % len(CHARSET_CASES)]
            plant = self._clean(self._article("ko"), kind)
            if kind == "charset_cp949":
                plant = replace(plant, text=f"{plant.text} {CP949_SENTENCE}", markers=(*plant.markers, CP949_SENTENCE))
            self._add(replace(plant, page=True, charset=charset, http_charset=http_charset, meta_charset=meta_charset))

    def _pii(self) -> None:
        plant = self._clean(kind="pii")
        mail, call, number = variants.email(self.rng), variants.phone(self.rng), variants.resident_number(self.rng)
        if plant.language == "ko":
            extra = f"자세한 내용은 {mail} 주소나 전화 {call} 번호로 물으면 된다. 신청서에는 주민등록번호 {number} 항목도 적혀 있었다."
        else:
            extra = f"Questions go to {mail} or by telephone to {call} on weekdays. The form also showed resident number {number}."
        lines = plant.text.split("\n")
        lines.insert(len(lines) // 2, extra)
        self._add(replace(plant, text="\n".join(lines), secrets=(mail, call, number)))

    def _notice(self, number: int) -> None:
        """A record whose last lines are a notice and share buttons: the article stays, those lines go."""
        plant = self._clean(kind="notice")
        lines = noise.NOTICES[plant.language or "en"][number % len(noise.NOTICES[plant.language or "en"])]
        self._add(replace(plant, text="\n".join([plant.text, *lines]), page=False, cut=lines))

    def _leak(self, number: int) -> None:
        """One whole benchmark item as a paragraph of its own in the middle of an otherwise clean article."""
        item = self.items[number * 7 % len(self.items)]
        form = ("exact", "spacing", "case", "punctuation")[number % 4]
        plant = self._clean(self._article(item.lang), f"leak_{form}")
        lines = plant.text.split("\n")
        lines.insert(len(lines) // 2, variants.disguise(item.text, item.lang, form))
        changes = {"expected": DROPPED, "stages": ("decontaminate",), "benchmark_item": item.id}
        self._add(replace(plant, text="\n".join(lines), page=False, **changes))  # type: ignore[arg-type]

    def _hostile(self) -> None:
        """Content that must flow through like any other: markup in titles, quotes in fields, a very deep page."""
        script = "<script>alert(1)</script>"
        for page in (True, False):
            plant = self._clean(kind="hostile_markup")
            self._add(replace(plant, title=f"{script} {plant.title}", page=page))
        plant = self._clean(kind="hostile_markup")
        self._add(replace(plant, text=f"{plant.text} {script}", page=False))
        plant = self._clean(kind="hostile_fields")
        fields = {"'; DROP TABLE documents; --": '" OR 1=1 --', "__proto__": "${jndi:none}", "author": "Robert'); --"}
        self._add(replace(plant, page=False, fields=fields))
        plant = self._clean(kind="hostile_url")
        self._add(replace(plant, page=True, fields={"path": "a'b\"c;--<b>?q=%27%22"}))
        plant = self._clean(kind="hostile_file_name")
        self._add(replace(plant, page=True, fields={"file": "robert'); drop table documents;--.html"}, http_charset=None))
        plant = self._clean(kind="hostile_depth")
        self._add(replace(plant, page=True, fields={"depth": "3000"}, accept=(DROPPED, QUARANTINED), markers=()))
