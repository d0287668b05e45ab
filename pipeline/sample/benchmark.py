"""A small made-up multiple-choice benchmark in Korean and English, whose items are also hidden in some documents of the sample."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import asdict, dataclass

from pipeline.sample.grammar import fit_particles, pick

NAME = "onnuri-sample"
LETTERS = "ABCD"


@dataclass(frozen=True)
class Item:
    """One question with four choices; `answer` is the letter of the right one, `text` the question followed by the choices."""

    id: str
    benchmark: str
    split: str
    lang: str
    question: str
    choices: tuple[str, ...]
    answer: str
    text: str

    def record(self) -> dict[str, object]:
        return asdict(self)


Question = tuple[str, str, list[str]]  # question, right choice, wrong choices

_PEOPLE = {
    "en": ("Harold|Abigail|Cedric|Dorothy|Ernest|Fiona|Gilbert|Hester|Ignatius|Josephine|Kenneth|Lavinia|Mortimer|Nadine|Orville|Prudence"),
    "ko": "영수|미란|동철|순애|병호|정님|광식|옥분|철민|복희|상구|말순|재덕|춘자|기백|금례",
}
_GOODS = {
    "en": "marbles|walnuts|postcards|buttons|candles|pencils|seashells|ribbons|stamps|dominoes|thimbles|acorns",
    "ko": "구슬|호두|엽서|단추|양초|연필|조개껍데기|리본|우표|딱지|골무|도토리",
}
_BOXES = {"en": "tins|crates|drawers|satchels|baskets|cartons", "ko": "깡통|궤짝|서랍|주머니|바구니|종이함"}
_COLORS = {"en": "crimson|turquoise|amber|violet|ivory|olive|scarlet|indigo", "ko": "진홍|청록|호박|보라|상아|올리브|주홍|쪽빛"}
_DAYS = {
    "en": "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday",
    "ko": "월요일|화요일|수요일|목요일|금요일|토요일|일요일",
}


def _near(right: int, step: int) -> list[str]:
    return [str(right + step), str(right + 2 * step), str(right - step)]


def _stock(rng: random.Random, lang: str) -> Question:
    people = _PEOPLE[lang].split("|")
    who, cousin = _two(rng, people)
    goods, box = pick(rng, _GOODS[lang].split("|")), pick(rng, _BOXES[lang].split("|"))
    boxes, each, more = 4 + int(rng.random() * 20), 6 + int(rng.random() * 30), 2 + int(rng.random() * 9)
    right = (boxes + more) * each
    if lang == "en":
        question = (
            f"{who} stores {goods} in {boxes} {box}, and all of them hold exactly {each} {goods}. A cousin called {cousin} hands over "
            f"{more} additional {box} filled the same way. What is the total count of {goods} that {who} possesses afterwards?"
        )
    else:
        question = fit_particles(
            f"{who}<은> {goods}<을> {box} {boxes}개에 똑같이 {each}개씩 넣어 두었습니다. 사촌 {cousin}<이> 같은 방법으로 채운 {box} "
            f"{more}개를 더 건네주었다면 {who}에게 있는 {goods}<은> 모두 합하여 몇 개입니까?"
        )
    return question, str(right), _near(right, each)


def _calendar(rng: random.Random, lang: str) -> Question:
    who, color, goods = pick(rng, _PEOPLE[lang].split("|")), pick(rng, _COLORS[lang].split("|")), pick(rng, _GOODS[lang].split("|"))
    start, days = int(rng.random() * 7), 9 + int(rng.random() * 180)
    names = _DAYS[lang].split("|")
    right = names[(start + days) % 7]
    if lang == "en":
        question = (
            f"A parcel of {color} {goods} was posted by {who} on a {names[start]}, and the carrier promised that it would be handed in "
            f"exactly {days} days later. Assuming the promise was kept, which weekday did the {color} parcel get delivered?"
        )
    else:
        question = fit_particles(
            f"{who}<이> {color} 상자에 담은 {goods}<을> {names[start]}에 부쳤고 배달원은 정확히 {days}일 뒤에 건네겠다고 약속했습니다. "
            f"약속이 지켜졌다고 할 때 {color} 상자가 도착한 요일은 무엇입니까?"
        )
    return question, right, [names[(start + days + offset) % 7] for offset in (1, 3, 5)]


def _order(rng: random.Random, lang: str) -> Question:
    people = _PEOPLE[lang].split("|")
    first, second = _two(rng, people)
    third = pick(rng, [name for name in people if name not in (first, second)])
    fourth = pick(rng, [name for name in people if name not in (first, second, third)])
    color, gap = pick(rng, _COLORS[lang].split("|")), 3 + int(rng.random() * 40)
    if lang == "en":
        question = (
            f"In the {color} footrace {first} crossed the line {gap} seconds ahead of {second}, whereas {third} finished behind {second} "
            f"yet in front of {fourth}. Given only these statements, who came in third place?"
        )
    else:
        question = fit_particles(
            f"{color} 깃발 달리기에서 {first}<은> {second}보다 {gap}초 먼저 결승선을 넘었고, {third}<은> {second}보다 늦었지만 "
            f"{fourth}보다는 앞섰습니다. 이 말들만 옳다고 할 때 세 번째로 들어온 사람은 누구입니까?"
        )
    return question, third, [first, second, fourth]


def _tank(rng: random.Random, lang: str) -> Question:
    who, color = pick(rng, _PEOPLE[lang].split("|")), pick(rng, _COLORS[lang].split("|"))
    fill, leak, minutes = 11 + int(rng.random() * 40), 2 + int(rng.random() * 8), 5 + int(rng.random() * 55)
    right = (fill - leak) * minutes
    if lang == "en":
        question = (
            f"An empty {color} cistern owned by {who} receives {fill} liters of rainwater per minute while a crack lets {leak} liters "
            f"escape every minute. How many liters remain inside the {color} cistern once {minutes} minutes have gone by?"
        )
    else:
        question = fit_particles(
            f"{who}네 빈 {color} 물탱크에는 1분마다 빗물 {fill}리터가 들어오고 갈라진 틈으로 1분마다 {leak}리터가 새어 나갑니다. "
            f"{minutes}분이 흐른 다음 {color} 물탱크 속에 남아 있는 물은 몇 리터입니까?"
        )
    return question, str(right), _near(right, minutes)


def _two(rng: random.Random, names: list[str]) -> tuple[str, str]:
    first = pick(rng, names)
    return first, pick(rng, [name for name in names if name != first])


_KINDS: tuple[Callable[[random.Random, str], Question], ...] = (_stock, _calendar, _order, _tank)


def items(rng: random.Random, language: str, count: int = 60) -> list[Item]:
    """`count` different items in `language` ("ko" or "en"); the right answers are computed, the places of the choices drawn."""
    made: list[Item] = []
    seen: set[str] = set()
    while len(made) < count:
        question, right, wrong = _KINDS[len(made) % len(_KINDS)](rng, language)
        if question in seen:
            continue
        seen.add(question)
        place = int(rng.random() * len(LETTERS))
        choices = tuple([*wrong[:place], right, *wrong[place:]])
        text = question + "\n" + "\n".join(f"{letter}. {choice}" for letter, choice in zip(LETTERS, choices, strict=True))
        identifier = f"{NAME}-{language}-{len(made):03d}"
        made.append(Item(identifier, f"{NAME}-{language}", "test", language, question, choices, LETTERS[place], text))
    return made
