"""Made-up texts that a pipeline must drop: spam, menus, repetition, scraps, other languages; and poor prose for the quality labels."""

from __future__ import annotations

import random

from pipeline.sample.grammar import Grammar, expressions, pick, shuffled

FOREIGN_LANGUAGES = ("ja", "zh", "de", "fr", "es")

_SPAM = {
    "ko": """
온라인카지노 {brand} 첫충 {2..50}퍼센트 보너스, 바카라 사이트 추천 1위 지금 가입하세요.
먹튀검증 끝난 안전놀이터 {brand}, 스포츠토토와 슬롯사이트를 한 번에 즐기는 카지노사이트입니다.
바카라, 룰렛, 슬롯 {3..9}00종! 토토사이트 {brand} 가입코드 {1000..9999} 입력하면 무료 꽁머니 {1..9}만 원 지급.
{brand} 카지노사이트 먹튀 없는 메이저놀이터, 온라인바카라 실시간 {brand2} 중계와 함께 하세요.
출장안마 조건만남 {brand2} 24시간 예약, 후불제 출장 {1..9}만 원 이벤트 중입니다.
토토사이트 추천, 먹튀사이트 신고, 카지노 쿠폰 {brand} 텔레그램 문의 환영합니다.
사설토토 {brand}에서 파워볼과 바카라를 무제한 배팅, 첫 입금 {2..50}퍼센트 보너스 드립니다.
""",
    "en": """
Play online casino slots at {brand} today and claim {20..500} free spins with no deposit bonus.
{brand} online casino: best online slots, live roulette, blackjack, and sports betting with instant payout.
Buy cheap viagra online without prescription, cialis {5..90} mg, fast shipping by {brand2}.
Join {brand} poker and casino bonus club, bet now and win real money with promo code {1000..9999}.
Sports betting tips, casino no deposit bonus, free spins and slot jackpot only at {brand}.
Online casino {brand2} pays {20..500} dollars sign-up bonus, gamble online and win the jackpot tonight.
Hot singles and escort service near you, adult cam chat by {brand2}, click here to join free.
""",
}
_SPAM_SLOTS = {
    "brand": "별빛77|로얄판|대박존|골드88|만수르벳|럭키타운|킹벳|황금성|제왕컴퍼니|스타벳",
    "brand2": "레드문|블루칩|하이롤|더원|나이트콜|밤하늘|럭셔리|베가존",
}
_SPAM_SLOTS_EN = {
    "brand": "LuckyVault|SpinPalace7|RoyalPit|JackpotLane|GoldChip88|BetHarbor|VegasNest|AceRiver",
    "brand2": "NightCall|QuickPharm|RedMoon|BlueChip|PillDirect|HighRoll",
}

_MENUS = {
    "ko": (
        "홈|로그인|회원가입|마이페이지|장바구니|고객센터|이용약관|개인정보처리방침|사이트맵|공지사항|이벤트|목록|이전글"
        "|다음글|댓글 0|공유하기|인쇄하기|맨 위로|많이 본 뉴스|관련 기사|구독하기|저작권자 ⓒ 온누리견본 무단전재 및 재배포 금지"
        "|사업자등록번호 000-00-00000|통신판매업 신고 제0000호|대표이사: 견본인|Copyright ⓒ sample. All rights reserved."
    ),
    "en": (
        "Home|Sign in|Register|My account|Cart|Help center|Terms of service|Privacy policy|Site map|Contact us|Previous|Next|0 comments"
        "|Share on Facebook|Print this page|Back to top|Most read|Related articles|Subscribe|Follow us|Cookie settings|Advertise"
        "|All rights reserved.|Copyright 2024 Sample|Accept cookies|Skip to content"
    ),
}
_SHORT = {
    "ko": "오늘은 쉽니다.|사진만 올려요.|다음에 다시 쓸게요.|비밀번호를 입력하세요.|준비 중입니다.|내용 없음.|잘 봤어요 {1..99}번 봤네요.",
    "en": "Closed today.|Photo only.|More to come later.|Enter your password.|Coming soon.|No content.|Nice one, watched it {2..99} times.",
}
_FOREIGN: dict[str, tuple[str, dict[str, str]]] = {
    "ja": (
        """
{place}の朝市では、{person}が{thing}を並べて客を待っている。
去年の{season}、私は{person}と一緒に{place}まで電車で出かけた。
{thing}を選ぶときは、色と重さをよく見てから決めるのがよいと言われる。
{place}に住む{person}は、{season}になるといつも{thing}を作って近所に配る。
雨が降り始めたので、{person}は{thing}を持って駅前の店に入った。
この町では{thing}が有名で、{season}には遠くから多くの人が訪れる。
{person}の話によると、{place}の{thing}は昔より少し甘くなったそうだ。
夕方になると{place}の通りは静かになり、{thing}の香りだけが残った。
""",
        {
            "place": "海辺の村|古い城下町|川沿いの町|山の温泉街|北の港|竹林の里|丘の上の町",
            "person": "魚屋の主人|若い先生|隣のおばあさん|料理人|学生たち|船長|花屋の娘",
            "thing": "焼き菓子|青い皿|みかん|手作りの味噌|木の箸|新茶|干物|漬物",
            "season": "春|夏|秋|冬|祭りの季節|梅雨",
        },
    ),
    "zh": (
        """
{place}的早市上，{person}正在整理{thing}，等着第一批客人。
去年{season}，我和{person}坐火车去了{place}，一路上看到很多稻田。
挑选{thing}的时候，最好先看颜色，再问一问价钱。
住在{place}的{person}每到{season}都会做一些{thing}送给邻居。
因为突然下雨，{person}拿着{thing}走进了车站旁边的小店。
这座城市以{thing}闻名，{season}常有远方的游客来参观。
据{person}说，{place}的{thing}比以前贵了一些，但是味道更好。
傍晚的时候，{place}的街道安静下来，只剩下{thing}的香味。
""",
        {
            "place": "海边的村子|古老的县城|河边的小镇|山里的茶园|北方的港口|竹林旁的村庄|坡上的老街",
            "person": "卖鱼的老板|年轻的老师|隔壁的奶奶|厨师|几个学生|船长|花店的姑娘",
            "thing": "点心|青花盘子|橘子|豆瓣酱|木筷子|新茶|咸鱼|泡菜",
            "season": "春天|夏天|秋天|冬天|节日期间|雨季",
        },
    ),
    "de": (
        """
Auf dem Markt in {place} verkauft {person} seit vielen Jahren {thing}, und die Leute kommen gern wieder.
Im letzten {season} bin ich mit dem Zug nach {place} gefahren, weil {person} dort ein Haus gekauft hat.
Wer {thing} auswählt, sollte zuerst auf die Farbe achten und dann nach dem Preis fragen.
In {place} erzählt man sich, dass {person} jeden {season} etwas {thing} an die Nachbarn verschenkt.
Als es zu regnen begann, ging {person} mit einem Korb voller {thing} in den Laden am Bahnhof.
Die Stadt {place} ist für {thing} bekannt, deshalb reisen im {season} viele Gäste an.
Nach der Meinung von {person} schmeckt {thing} heute ein wenig süßer als früher.
Am Abend wurde es in {place} still, und nur der Duft von {thing} blieb in den Gassen.
""",
        {
            "place": "Lindenau|Altbrück|Seewiesen|Hohenfurt|Kirchdorf|Mühlental|Steinbach",
            "person": "der alte Fischer|eine junge Lehrerin|die Nachbarin|unser Koch|der Kapitän|mein Onkel",
            "thing": "Apfelkuchen|Honig|Kartoffeln|Birnensaft|Schafskäse|Brot|Pflaumenmus",
            "season": "Frühling|Sommer|Herbst|Winter",
        },
    ),
    "fr": (
        """
Au marché de {place}, {person} vend {thing} depuis des années et les habitants reviennent chaque semaine.
L'{season} dernier, je suis allé à {place} en train parce que {person} venait d'y acheter une maison.
Pour bien choisir {thing}, il faut d'abord regarder la couleur, puis demander le prix sans se presser.
On raconte à {place} que {person} offre toujours {thing} aux voisins quand arrive l'{season}.
Comme la pluie commençait à tomber, {person} est entré dans la boutique près de la gare avec {thing}.
La ville de {place} est connue pour {thing}, c'est pourquoi beaucoup de visiteurs y passent en {season}.
Selon {person}, {thing} est aujourd'hui un peu plus doux qu'autrefois, mais bien plus cher.
Le soir, les rues de {place} deviennent calmes et il ne reste que l'odeur de {thing}.
""",
        {
            "place": "Valbrune|Saint-Aubray|Montclair-le-Vieux|Pontrival|Belleroche|Fontaubert",
            "person": "le vieux pêcheur|une jeune institutrice|la voisine|notre cuisinier|le capitaine|mon oncle",
            "thing": "la tarte aux pommes|le miel|le fromage de brebis|le jus de poire|le pain noir|la confiture de prunes",
            "season": "été|automne|hiver",
        },
    ),
    "es": (
        """
En el mercado de {place}, {person} vende {thing} desde hace muchos años y la gente vuelve cada semana.
El {season} pasado viajé en tren a {place} porque {person} había comprado allí una casa pequeña.
Para elegir bien {thing}, primero hay que mirar el color y después preguntar el precio con calma.
Cuentan en {place} que {person} siempre regala {thing} a los vecinos cuando llega el {season}.
Como empezaba a llover, {person} entró en la tienda de la estación con una cesta de {thing}.
La ciudad de {place} es famosa por {thing}, así que muchos visitantes llegan durante el {season}.
Según {person}, {thing} está hoy un poco más dulce que antes, aunque también es más caro.
Por la noche las calles de {place} se quedan tranquilas y solo queda el olor de {thing}.
""",
        {
            "place": "Valdemora|Puerto Claro|Fuenteseca|Montesol|Riberalta del Río|Casas Altas",
            "person": "el viejo pescador|una joven maestra|la vecina|nuestro cocinero|el capitán|mi tío",
            "thing": "el pan de higos|la miel|el queso de oveja|el zumo de pera|la tarta de manzana|la mermelada de ciruelas",
            "season": "verano|otoño|invierno",
        },
    ),
}
_POOR = {
    "ko": (
        """
[진짜|와|헐|아니] 이거 [대박|완전 좋음|별로임|개꿀] [ㅋㅋㅋㅋ|ㅎㅎㅎ|ㅠㅠㅠ] {thing} [사고 싶다|또 샀음|환불각]
{thing} 최저가 [무료배송|당일발송|한정수량|특가] {2..90}프로 [할인중|세일] [클릭|바로가기|문의주세요]!!!
[첫글|댓글|1빠|테스트] {1..999} [ㅋㅋ|..|;;] {thing} [아시는 분|쓰는 분|팔아요] [있나요|쪽지|연락]
[아 몰라|그냥 그럼|뭐래|ㅇㅇ] {thing} [어제 봄|안 씀|짱] [굿|노잼|핵노잼|강추]
{thing} {thing} {thing} 추천 [후기|가격|정품|순위] 바로가기
""",
        {"thing": "운동화|핸드폰 케이스|다이어트 차|마스크팩|게임 계정|가방|이어폰|청소기|모자|영양제|차량 용품|원룸|커튼|아이템"},
    ),
    "en": (
        """
[lol|omg|wow|meh] this {thing} is [sooo good|so bad|whatever|insane] [!!!|???|lmao|:)] [buy it|do not want|10/10|idk]
{thing} [cheap|best price|hot deal|{10..90}% off] [click here|order now|free shipping|limited offer] !!! {thing} {thing}
[first|bump|test|anyone] {1..999} [pls reply|dm me|thx|k] {thing} [for sale|wanted|??] [asap|plz]
[ok so|like|ugh|nah] my {thing} [broke|lol|rocks] [again|smh|whatever] [no idea why|u guys|haha]
{thing} [review|coupon|2024|near me|wholesale] {thing} [review|promo code|outlet] best {thing} top {5..50}
""",
        {"thing": "sneakers|phone case|diet tea|face mask|game account|handbag|earbuds|vacuum|cap|vitamins|car mat|ringtone|curtain"},
    ),
}


def spam(language: str, rng: random.Random) -> str:
    """Seven lines of gambling, pill and escort advertising: every line of the table once, in random order."""
    grammar = Grammar(_SPAM_SLOTS if language == "ko" else _SPAM_SLOTS_EN)
    return "\n".join(grammar.expand(line, rng) for line in shuffled(rng, expressions(_SPAM[language])))


def repetition(line: str) -> str:
    """The same line fifty times."""
    return "\n".join([line] * 50)


def short(language: str, rng: random.Random) -> str:
    """One sentence of a few words."""
    return Grammar({}).expand(_SHORT[language], rng)


def menu_lines(language: str, rng: random.Random, count: int) -> list[str]:
    """`count` lines of page furniture: menu entries, footers, share buttons."""
    entries = _MENUS[language].split("|")
    lines: list[str] = []
    while len(lines) < count:
        lines += shuffled(rng, entries)
    return lines[:count]


def foreign(language: str, rng: random.Random) -> str:
    """Two or three paragraphs in Japanese, Chinese, German, French or Spanish: every sentence of the table once, in random order."""
    table, slots = _FOREIGN[language]
    grammar = Grammar(slots)
    sentences = [grammar.expand(line, rng) for _ in range(2) for line in shuffled(rng, expressions(table))]
    joint = "" if language in ("ja", "zh") else " "
    return "\n".join(joint.join(sentences[start : start + 6]) for start in range(0, len(sentences), 6))


def poor(language: str, rng: random.Random) -> str:
    """Three to five scraps of chatter and keyword advertising, the low end of the quality labels."""
    table, slots = _POOR[language]
    grammar = Grammar(slots)
    return "\n".join(grammar.expand(pick(rng, expressions(table)), rng) for _ in range(3 + int(rng.random() * 3)))


NOTICES = {
    "ko": (
        ("저작권자 ⓒ 온누리견본신문, 무단 전재 및 재배포 금지", "공유하기", "인쇄하기"),
        ("ⓒ 온누리견본 & onnuri.example.com, 무단전재 및 재배포 금지",),
        ("관련기사", "많이 본 뉴스", "목록", "이전글", "다음글"),
    ),
    "en": (
        ("Copyright © 2024 The Onnuri Sample Press. All rights reserved.",),
        ("Share on Facebook", "Share on Twitter", "Subscribe to our newsletter"),
    ),
}
"""Lines that sites print below an article, per language."""
