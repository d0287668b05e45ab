"""Tables of robots.txt files: which pages their sites now close to crawlers, and how to make such a table from a crawl.

A table has a row per fetched robots.txt: host, fetched_at (ISO 8601), body. The latest row of a host counts (RFC 9309). Making one:
`python -m pipeline.refine.robots CRAWL... -o robots.parquet`.
"""

from __future__ import annotations

import argparse
import functools
import re
import sys
from codecs import BOM_UTF8
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import xxhash

from pipeline.errors import UserError
from pipeline.files import find_files, open_file
from pipeline.ingest.config import IngestConfig
from pipeline.ingest.formats import UnreadableFile
from pipeline.refine.addresses import host_and_rest, normal_host
from pipeline.refine.site_lists import Files, hash_of, unpacked
from pipeline.splits import Part

if TYPE_CHECKING:
    from protego import Protego

COLUMNS = ("host", "fetched_at", "body")
MAX_BODY_CHARACTERS = 500 * 1024
"""RFC 9309 section 2.5: a crawler must read at least 500 KiB; the rest is ignored."""
MAX_RULE_ENTRIES, MAX_WILDCARDS = 100_000, 1_000
"""A robots.txt is cut where its groups (agents x rules) or its rules with wildcards exceed this. Protego keeps a rule once per agent
of its group and tries all wildcards on every address, so that 500 KiB of agents and rules would cost gigabytes, and milliseconds a page."""
MAX_PARSED = 64 << 20
"""Bytes that parsed files may take in a process, estimated as their text and 100 bytes for each entry."""
_ENTRY_BYTES = 100
_CSV_BLOCK_BYTES = 64 << 20
"""A row of a CSV file must end within the block after the one it begins in; Arrow's block of 1 MiB is too short for some bodies."""
_AGENT_VERSION = re.compile(r"(user-?agent\s{0,8}:\s{0,8}[a-z_-]{1,256})/.*", re.IGNORECASE)
"""`User-agent: CCBot/2.0` means CCBot: a product token has letters, `_` and `-` only (RFC 9309 section 2.2.1)."""
_RULE = re.compile(r"(?:dis)?allow\s{0,8}:", re.IGNORECASE)
DISALLOW_ALL = "User-agent: *\nDisallow: /\n"
_ARC = re.compile(r"\.arc(?:\.gz|\.zst)?\Z")
_ROBOTS_ADDRESS = r"^(?i:https?://[^/?#]+/robots\.txt)$"
_MIME_TYPES = (
    *("text/plain", "text/html", "text/robots", "text/x-robots"),
    *("application/octet-stream", "binary/octet-stream", "application/text"),
)
"""Media types that servers give a robots.txt; a response of another type is left out."""


@dataclass(frozen=True)
class RobotsTable:
    """The latest robots.txt of each host. hashes: sorted xxh3-64 of host names; bodies: their texts, in the same order."""

    hashes: np.ndarray
    bodies: pa.ChunkedArray

    def body(self, host: str) -> str | None:
        """The robots.txt of a host in the form of `normal_host`; None when there is none: then everything is allowed."""
        wanted = np.uint64(hash_of(host))
        at = int(np.searchsorted(self.hashes, wanted))
        if at == self.hashes.size or self.hashes[at] != wanted:
            return None
        return str(self.bodies[at].as_py())


def read_tables(paths: Sequence[str]) -> tuple[RobotsTable, str]:
    """The table of these files and the xxh3 (hex) of their bytes.

    Raises UserError for a file that can't be read, lacks a column, or has a row without host or with a time that is not ISO 8601.
    """
    digest = xxhash.xxh3_128()
    hosts: list[int] = []
    times: list[float] = []
    bodies: list[pa.ChunkedArray] = []
    for path in paths:
        table = _read(path, digest)
        for number, (host, time) in enumerate(zip(table["host"].to_pylist(), table["fetched_at"].to_pylist(), strict=True), 1):
            name = normal_host(host) if host else None
            seconds = _seconds(time)
            if name is None or seconds is None:
                key, value = ("host", host) if name is None else ("fetched_at", time)
                wanted = "a host name" if name is None else "a time such as 2026-01-31T12:00:00Z"
                raise UserError(
                    f"sites.robots: row {number} of '{path}' has the {key} '{value}', which is not {wanted}; correct or remove it"
                )
            hosts.append(hash_of(name))
            times.append(seconds)
        bodies.append(table["body"])
    hashes = np.array(hosts, np.uint64)
    order = np.lexsort((np.arange(hashes.size), np.array(times), hashes))
    last = np.append(hashes[order][1:] != hashes[order][:-1], True)[: order.size]
    chosen = order[last]
    texts = pa.chunked_array([chunk for body in bodies for chunk in body.chunks], pa.large_string())
    return RobotsTable(hashes[chosen], texts.take(pa.array(chosen))), digest.hexdigest()


def _read(path: str, digest: xxhash.xxh3_128) -> pa.Table:
    """The three columns of one file as strings, `body` shortened to MAX_BODY_CHARACTERS."""
    try:
        with open_file(path) as file:
            while block := file.read(1 << 20):
                digest.update(block)
        with open_file(path) as file:
            kind = path.lower().removesuffix(".gz").removesuffix(".zst")
            if kind.endswith((".parquet", ".pq")):
                table = pq.read_table(file, columns=_present(pq.ParquetFile(file).schema_arrow.names))
            elif kind.endswith(".csv"):
                types = pa_csv.ConvertOptions(column_types=dict.fromkeys(COLUMNS, pa.large_string()), strings_can_be_null=False)
                options = pa_csv.ParseOptions(newlines_in_values=True)
                blocks = pa_csv.ReadOptions(block_size=_CSV_BLOCK_BYTES)
                with unpacked(file) as stream:
                    table = pa_csv.read_csv(stream, blocks, parse_options=options, convert_options=types)
            elif kind.endswith((".jsonl", ".ndjson", ".json")):
                with unpacked(file) as stream:
                    table = _from_lines(path, stream)
            else:
                raise UserError(
                    f"sites.robots: '{path}' is neither Parquet (.parquet), JSONL (.jsonl) nor CSV (.csv); rename or convert it"
                )
    except (OSError, EOFError, pa.ArrowException) as error:
        raise UserError(
            f"sites.robots: can't read '{path}': {' '.join(str(error).split())[:200]}; check that it is there and whole"
        ) from error
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        raise UserError(f"sites.robots: '{path}' has no column {missing[0]}; a robots table has the columns {', '.join(COLUMNS)}")
    try:
        table = pa.table({name: table[name].cast(pa.large_string()) for name in COLUMNS})
    except pa.ArrowException as error:
        raise UserError(f"sites.robots: a column of '{path}' is not text: {str(error)[:200]}; convert it") from error
    body = pc.utf8_slice_codeunits(pc.fill_null(table["body"], ""), 0, MAX_BODY_CHARACTERS)
    return table.set_column(2, "body", body)


def _present(names: list[str]) -> list[str]:
    return [name for name in COLUMNS if name in names]


def _from_lines(path: str, stream: IO[bytes]) -> pa.Table:
    columns: dict[str, list[str | None]] = {name: [] for name in COLUMNS}
    for number, line in enumerate(stream, 1):
        line = line.removeprefix(BOM_UTF8)
        if not line.strip():
            continue
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise UserError(f"sites.robots: line {number} of '{path}' is not JSON ({error}); correct or remove it") from error
        for name, values in columns.items():
            value = record.get(name) if isinstance(record, dict) else None
            value = "" if name == "body" and value is None and isinstance(record, dict) and name in record else value
            if not isinstance(value, str):
                raise UserError(f"sites.robots: line {number} of '{path}' has no text '{name}'; every line needs {', '.join(COLUMNS)}")
            values.append(value)
    return pa.table({name: pa.array(values, pa.large_string()) for name, values in columns.items()})


def _seconds(time: str | None) -> float | None:
    """ISO 8601 as seconds since 1970; a time without zone is UTC."""
    try:
        moment = datetime.fromisoformat((time or "").strip())
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def bounded(body: str) -> tuple[str, int]:
    """The part of a robots.txt within the limits above, and the number of entries that Protego keeps for it (never underestimated)."""
    kept: list[str] = []
    agents = entries = wildcards = 0
    in_rules = False
    for line in body[:MAX_BODY_CHARACTERS].removeprefix("\ufeff").splitlines():
        text = _AGENT_VERSION.sub(r"\1", line.partition("#")[0].strip())
        if not text:
            continue
        if "agent" in text.lower():
            agents = 1 if in_rules else agents + 1
            in_rules = False
        elif _RULE.match(text):
            in_rules = True
        entries += agents  # an agent's line too: Protego compares it with the others of its group
        wildcards += "*" in text
        if entries > MAX_RULE_ENTRIES or wildcards > MAX_WILDCARDS:
            break
        kept.append(text)
    return "\n".join(kept), entries


class Parsed:
    """Parsed robots.txt files of a table, the recently used ones kept within MAX_PARSED bytes."""

    def __init__(self, table: RobotsTable) -> None:
        self._table = table
        self.hashes = table.hashes
        self._kept: OrderedDict[str, tuple[Protego | None, int]] = OrderedDict()
        self._size = 0

    def allows(self, host: str, rest: str, agents: Sequence[str]) -> bool:
        """Whether every agent may fetch path and query `rest` of `host` (both as `host_and_rest` gives them)."""
        rules = self._rules(host)
        # A host stands before it because Protego would take `//` at the start of a path for one; rules never look at it.
        return rules is None or all(rules.can_fetch(f"http://host{rest}", agent) for agent in agents)

    def _rules(self, host: str) -> Protego | None:
        if host in self._kept:
            self._kept.move_to_end(host)
            return self._kept[host][0]
        body = self._table.body(host)
        rules, cost = None, _ENTRY_BYTES
        if body is not None and body.strip():
            from protego import Protego

            text, entries = bounded(body)
            rules = Protego.parse(text)
            cost += 4 * len(text) + _ENTRY_BYTES * entries
        self._kept[host] = (rules, cost)
        self._size += cost
        while self._size > MAX_PARSED and len(self._kept) > 1:
            self._size -= self._kept.popitem(last=False)[1][1]
        return rules


@functools.lru_cache(maxsize=2)
def loaded(files: Files) -> Parsed:
    """The robots table of these files, read once per process. Raises UserError when they are no longer what the run started with."""
    table, digest = read_tables(files.paths)
    if digest != files.digest:
        raise UserError(f"sites.robots: a file changed while the run was reading it ({', '.join(files.paths)}); start the run again")
    return Parsed(table)


@dataclass(frozen=True)
class Collected:
    """What `collect_robots` found: rows written, and responses that say nothing (redirects, damaged records, no date or host)."""

    written: int
    skipped: int


def collect_robots(paths: Sequence[str], out: str) -> Collected:
    """Write a robots table (Parquet, sorted by host and time) from the responses for /robots.txt in WARC or ARC files.

    paths: files, folders or globs. RFC 9309 section 2.3.1: status 2xx gives the body; 4xx means that everything is allowed, which is an
    empty body; 5xx that nothing is. A redirect says nothing. Raises UserError for paths without files and for unreadable ones.
    """
    rows: dict[str, list[str]] = {name: [] for name in COLUMNS}
    skipped = 0
    for file in find_files(paths):
        for response in _responses(file.path, file.name):
            host, time, body = host_and_rest(response["url"])[0], response["date"], _body(response)
            if host is None or body is None or _seconds(time) is None:
                skipped += 1
                continue
            for name, value in zip(COLUMNS, (host, time, body), strict=True):
                rows[name].append(value)
    table = pa.table({name: pa.array(values, pa.large_string()) for name, values in rows.items()})
    try:
        pq.write_table(table.sort_by([("host", "ascending"), ("fetched_at", "ascending")]), out, compression="zstd")
    except OSError as error:
        raise UserError(f"can't write '{out}': {error.strerror or error}; give a path in a folder that is there") from error
    return Collected(len(table), skipped)


def _responses(path: str, name: str) -> Iterator[dict[str, Any]]:
    from pipeline.ingest.readers import read_part  # here, because who only looks tables up needs no archive readers

    format_ = "arc" if _ARC.search(path.lower()) else "warc"
    part = Part(path=path, name=name, format=format_, source="", fingerprint="", size=0)
    try:
        for table in read_part(part, IngestConfig(http_status_min=0, http_status_max=999, mime_types=_MIME_TYPES)):
            wanted = pc.fill_null(pc.match_substring_regex(table["url"], _ROBOTS_ADDRESS), False)
            yield from table.filter(wanted).select(["url", "date", "http_status", "raw", "drop_reason"]).to_pylist()
    except (OSError, UnreadableFile) as error:
        raise UserError(f"can't read '{path}' as a crawl archive: {error}; give WARC or ARC files") from error


def _body(response: dict[str, Any]) -> str | None:
    """The robots.txt that a response stands for; None when it says nothing."""
    status = response["http_status"] or 0
    if 400 <= status <= 499:
        return ""
    if 500 <= status <= 599:
        return DISALLOW_ALL
    if not 200 <= status <= 299:
        return None
    if response["raw"] is None:
        return "" if response["drop_reason"] == "empty_text" else None
    return cast(bytes, response["raw"]).decode("utf-8-sig", "replace")[:MAX_BODY_CHARACTERS]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of `collect_robots`; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.refine.robots", description="Make a table of robots.txt files from a crawl.")
    parser.add_argument("crawl", nargs="+", help="WARC or ARC files, folders or globs")
    parser.add_argument("-o", "--out", required=True, help="Parquet file to write")
    given = parser.parse_args(arguments)
    try:
        found = collect_robots(given.crawl, given.out)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{given.out}: {found.written} robots.txt files ({found.skipped} responses that say nothing were left out)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
