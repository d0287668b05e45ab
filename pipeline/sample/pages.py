"""HTML pages around the made-up articles: menus, a sidebar and a footer that main-text extraction has to take away."""

from __future__ import annotations

import html
import random

from pipeline.sample import noise
from pipeline.sample.grammar import shuffled
from pipeline.sample.plants import Plant

FURNITURE = {"ko": "온누리 견본 누리집의 모든 메뉴 펼치기", "en": "Unfold every menu of the Onnuri sample site"}
"""A menu entry of every page; finding it in the corpus shows that page furniture was taken for text."""


def render(plant: Plant, rng: random.Random) -> bytes:
    """The page of a plant in its charset, with the `<meta charset>` it asks for.

    In its fields, `depth` nests the article that deep, and `robots` declares directives.

    Raises UnicodeEncodeError when the text does not fit the charset: a mistake in the phrase tables.
    """
    language = "ko" if plant.language == "ko" else "en"  # the menus of pages in other languages are English
    lines = plant.text.split("\n")
    if plant.kind == "boilerplate":
        body = "".join(f'<div class="menu"><a href="/{number}">{html.escape(line)}</a></div>' for number, line in enumerate(lines))
    else:
        paragraphs = "\n".join(f"<p>{html.escape(line)}</p>" for line in lines)
        body = f'<article class="post"><div class="entry-content">\n{paragraphs}\n</div></article>'
    depth = int(plant.fields.get("depth", "0"))
    body = "<div>" * depth + body + "</div>" * depth
    meta = f'<meta charset="{plant.meta_charset}">' if plant.meta_charset else ""
    if "robots" in plant.fields:
        meta += f'<meta name="robots" content="{html.escape(plant.fields["robots"])}">'
    title = html.escape(plant.title)
    page = f"""<!DOCTYPE html>
<html lang="{plant.language or "en"}">
<head>{meta}<title>{title}</title><style>nav a {{ color: #333 }}</style></head>
<body>
<header><h1>{title}</h1></header>
<nav class="menu"><ul>{_items([FURNITURE[language], *noise.menu_lines(language, rng, 8)])}</ul></nav>
<main>
{body}
</main>
<aside class="sidebar"><ul>{_items(shuffled(rng, noise.menu_lines(language, rng, 6)))}</ul></aside>
<footer class="footer"><ul>{_items(noise.menu_lines(language, rng, 7))}</ul></footer>
<script>var visits = {int(rng.random() * 10000)};</script>
</body>
</html>
"""
    return page.encode(plant.charset)


def _items(entries: list[str]) -> str:
    return "".join(f'<li><a href="/{number}">{html.escape(entry)}</a></li>' for number, entry in enumerate(entries))
