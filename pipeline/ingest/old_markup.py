"""Markup of old sites brought into the form that extractors know: layout tables become blocks, lines parted by `br` become paragraphs.

Sites built before style sheets place everything by tables. Extractors write a table out as rows of cells: an article in one comes out as
one cell, its paragraphs and verses run together, with the menus beside it. What counts as layout follows what browsers tell screen
readers: a table around another table, of one row or one column, or with one cell that holds most of the text. Bare text between `br` is
lost or run together as well where pictures stand in it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from lxml import etree

_MIN_BREAKS = 2
"""Line breaks or blocks that make text running."""
_MIN_CHARACTERS = 200
"""So do as many characters without any."""
_MIN_MAIN = 100
"""Characters of a block that can be all there is to a page; of a shorter one that can't be said."""
_MAX_IMPRINT = 600
_IMPRINT = re.compile(r"copyright|all rights reserved|[©ⓒ]|사업자\s?등록\s?번호|통신판매", re.IGNORECASE)
"""What the foot of a site says, in so many characters at most."""
_CELLS = ("td", "th")
_PARTS = ("caption", "thead", "tbody", "tfoot", "tr", *_CELLS)
_HOLDERS = ("div", "td", "dd", "section", "article", "center", "main")
"""Elements whose bare text is parted into paragraphs."""
_BLOCKS = frozenset(
    {
        *("p", "div", "ul", "ol", "dl", "pre", "blockquote", "h1", "h2", "h3", "h4", "h5", "h6", "table", "tr", "article", "section"),
        *("main", "header", "footer", "aside", "nav", "address", "figure", "form", "center", "hr", "iframe", "script", "style", "noscript"),
    }
)
_BREAKS = ("br", "p", "div", "ul", "ol", "pre", "blockquote", "table", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "article", "section")
_NOT_TEXT = frozenset({"a", "script", "style", "select", "textarea"})


def modernise(tree: Any) -> None:
    """Rewrite an lxml tree in place; time grows linearly with it.

    Layout tables become `div`, and rows of short cells one `p` each. Where one block holds most of the running text of a page with layout
    tables, it becomes an `article` and all of the body. `nav` is emptied: for short pages the last fallback takes all text that is left.
    """
    for menu in tree.findall(".//nav"):
        menu.clear(keep_tail=True)
    _undo_layout_tables(tree)
    for holder in list(tree.iter(*_HOLDERS)):
        if sum(1 for _ in islice(holder.iterchildren("br"), _MIN_BREAKS)) == _MIN_BREAKS:
            _part_lines(holder)


def _part_lines(holder: Any) -> None:
    """Make each line of bare text and inline elements a paragraph."""
    children: list[Any] = []
    line: Any = None
    for text, child in [(holder.text, None), *((child.tail, child) for child in holder)]:
        if child is not None:
            child.tail = None
            if child.tag == "br" or child.tag in _BLOCKS or not isinstance(child.tag, str):
                line = None
                children += [] if child.tag == "br" else [child]
            else:
                if line is None:
                    line = etree.Element("p")
                    children.append(line)
                line.append(child)
        if text and (line is not None or text.strip()):
            if line is None:
                line = etree.Element("p")
                children.append(line)
            if len(line):
                line[-1].tail = text
            else:
                line.text = text
    holder.text = None
    holder[:] = children


def _undo_layout_tables(tree: Any) -> None:
    tables = _tables(tree)
    layout = [table for table in tables if table.is_around or _is_layout(table.rows)]
    if not layout:
        return
    main = _main_block(tree, layout)
    for table in layout:
        _undo(table)
    body = tree.find(".//body")
    if main is not None and body is not None:
        main.tag, main.tail = "article", None
        body.text = None
        body[:] = [main]


@dataclass
class _Table:
    """A table with the parts that are its own, not those of tables inside; `cell`: the cell it stands in; `is_around`: it holds a table."""

    element: Any
    cell: Any
    parts: list[Any] = field(default_factory=list)
    is_around: bool = False

    @property
    def rows(self) -> list[list[Any]]:
        """The cells of each row."""
        rows: dict[Any, list[Any]] = {}
        for part in self.parts:
            if part.tag in _CELLS:
                rows.setdefault(part.getparent(), []).append(part)
        return list(rows.values())


def _tables(tree: Any) -> list[_Table]:
    found: list[_Table] = []
    open_tables: list[_Table] = []
    open_cells: list[Any] = []
    for event, element in etree.iterwalk(tree, ("start", "end"), tag=("table", *_PARTS)):
        if event == "end":
            if element.tag == "table":
                open_tables.pop()
            elif element.tag in _CELLS:
                open_cells.pop()
        elif element.tag == "table":
            if open_tables:
                open_tables[-1].is_around = True
            open_tables.append(_Table(element, open_cells[-1] if open_cells else None))
            found.append(open_tables[-1])
        else:
            if open_tables:
                open_tables[-1].parts.append(element)
            if element.tag in _CELLS:
                open_cells.append(element)
    return found


def _is_layout(rows: list[list[Any]]) -> bool:
    """Whether a table without tables inside is layout."""
    if len(rows) <= 1 or max(map(len, rows)) == 1:
        return True
    sizes = {cell: _length(cell) for row in rows for cell in row}
    largest = max(sizes, key=sizes.__getitem__)
    return sizes[largest] * 2 > sum(sizes.values()) and _is_running(largest)


def _is_running(block: Any) -> bool:
    """Whether a block holds running text rather than a value or a label."""
    return next(islice(block.iter(*_BREAKS), _MIN_BREAKS - 1, None), None) is not None or _length(block) >= _MIN_CHARACTERS


def _length(block: Any) -> int:
    return sum(len(text.strip()) for text in block.itertext())


def _main_block(tree: Any, layout: list[_Table]) -> Any:
    """The cell, or table of one column, with more than half of the page's running text; None where there is none, or an article."""
    if next(tree.iter("article"), None) is not None:
        return None
    blocks: set[Any] = set()
    for table in layout:
        cells = [cell for row in table.rows for cell in row]
        is_column = len(cells) == len(table.rows) > 1 and not table.is_around
        blocks.update([table.element] if is_column and not any(map(_is_running, cells)) else cells)
    sizes = _own_sizes(tree, blocks)
    rest = sizes.pop(tree)
    running = {block: size for block, size in sizes.items() if _is_running(block) and not _is_imprint(block, size)}
    largest = max(running, key=running.__getitem__, default=None)
    is_main = largest is not None and running[largest] >= _MIN_MAIN and running[largest] * 2 > sum(running.values()) + rest
    return largest if is_main else None


def _own_sizes(tree: Any, blocks: set[Any]) -> dict[Any, int]:
    """Characters outside links, scripts and form fields: of each block what isn't in a block inside, of the tree the rest."""
    sizes: dict[Any, int] = {tree: 0, **dict.fromkeys(blocks, 0)}
    owners: list[Any] = []
    hidden = 0
    for event, element in etree.iterwalk(tree, ("start", "end")):
        is_start = event == "start"
        hidden += (1 if is_start else -1) * (element.tag in _NOT_TEXT)
        if is_start and element in sizes:
            owners.append(element)
        elif not is_start and element in sizes:
            owners.pop()
        text = element.text if is_start else element.tail
        if text and owners and not hidden:
            sizes[owners[-1]] += len(text.strip())
    return sizes


def _is_imprint(block: Any, size: int) -> bool:
    return size <= _MAX_IMPRINT and _IMPRINT.search("".join(block.itertext())) is not None


def _undo(table: _Table) -> None:
    short = {row[0].getparent() for row in table.rows if len(row) > 1 and all(next(cell.iter(*_BREAKS), None) is None for cell in row)}
    for part in table.parts:
        if part.tag in _CELLS and part.getparent() in short:
            part.tag = "span"
            part.tail = f"{part.tail or ''} "
        else:
            part.tag = "p" if part in short else "div"
    table.element.tag = "div"
