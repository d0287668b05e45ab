"""Drop documents by where they come from: lists of hosts and words, opt-outs, robots.txt as it is by now, and what the page itself asks.

Every reason is about an address, never about a text, so this stage comes first. Each distinct host is looked up once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import UserError
from pipeline.refine import addresses, robots, site_lists
from pipeline.refine.config import SitesConfig
from pipeline.refine.site_lists import NO_FILES, Entries, Files
from pipeline.stage import decide


@dataclass(frozen=True)
class Sites:
    """The stage that sets `drop_reason` to `site:...`; see SitesConfig for what each field means. Empty Files switch a check off.

    The columns `host` (for rows without url) and `robots_directives` are read where the table has them.
    """

    block_hosts: Files = NO_FILES
    allow_hosts: Files = NO_FILES
    block_words: Files = NO_FILES
    block_top_domains: tuple[str, ...] = ()
    opt_out: Files = NO_FILES
    robots: Files = NO_FILES
    robots_agents: tuple[str, ...] = ("CCBot", "*")
    drop_directives: tuple[str, ...] = ()

    name: ClassVar[str] = "sites"
    version: ClassVar[str] = "1"
    writes: ClassVar[frozenset[str]] = frozenset()

    @property
    def reads(self) -> frozenset[str]:
        """`url`, unless only what pages ask for counts."""
        return frozenset({"url"} if self._looks_at_addresses else set())

    @property
    def _looks_at_addresses(self) -> bool:
        lists = (self.block_hosts, self.allow_hosts, self.block_words, self.opt_out, self.robots)
        return bool(self.block_top_domains) or any(files.paths for files in lists)

    def __call__(self, table: pa.Table) -> pa.Table:
        """`table` with `drop_reason` set where an address may not stay; the first reason in the order of the fields is named."""
        return self._by_directives(self._by_address(table) if self._looks_at_addresses else table)

    def _by_address(self, table: pa.Table) -> pa.Table:
        urls, encoded = self._addresses(table)
        hosts = encoded.dictionary.to_pylist()
        of_row = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)

        def rows_of(hosts_found: np.ndarray) -> np.ndarray:
            """Rows whose host is marked; rows without a host are not."""
            return np.append(hosts_found, False)[of_row]

        if self.block_hosts.paths:
            found = _covered(site_lists.loaded("block_hosts", self.block_hosts), hosts)
            table = decide(table, "drop_reason", pa.array(rows_of(found)), "site:blocked_host")
        if self.allow_hosts.paths:
            found = _covered(site_lists.loaded("allow_hosts", self.allow_hosts), hosts)
            table = decide(table, "drop_reason", pa.array(~rows_of(found)), "site:not_allowed")
        if self.block_words.paths:
            found = _has_word(site_lists.loaded("block_words", self.block_words), urls, hosts, of_row)
            table = decide(table, "drop_reason", pa.array(found), "site:blocked_word")
        if self.block_top_domains:
            found = np.array([addresses.suffixes(host)[-1] in self.block_top_domains for host in hosts], bool)
            table = decide(table, "drop_reason", pa.array(rows_of(found)), "site:blocked_top_domain")
        if self.opt_out.paths:
            entries = site_lists.loaded("opt_out", self.opt_out)
            by_host = rows_of(_covered(entries, hosts))
            below = rows_of(site_lists.contains(entries.place_hosts, hosts)) & ~by_host
            by_host |= _tested(urls, below, lambda host, rest: bool(_known(entries.places, addresses.places_above(host, rest))))
            table = decide(table, "drop_reason", pa.array(by_host), "site:opt_out")
        if self.robots.paths:
            parsed = robots.loaded(self.robots)
            known = rows_of(site_lists.contains(parsed.hashes, hosts))
            closed = _tested(urls, known, lambda host, rest: not parsed.allows(host, rest, self.robots_agents))
            table = decide(table, "drop_reason", pa.array(closed), "site:robots")
        return table

    def _addresses(self, table: pa.Table) -> tuple[pa.ChunkedArray, pa.DictionaryArray]:
        """The addresses, and the host of each row as a dictionary array; a row without url has the host of the column `host`."""
        urls = table.column("url").cast(pa.large_string())
        hosts = addresses.hosts(urls)
        if "host" in table.column_names:
            given = addresses.hosts(table.column("host").cast(pa.large_string()))
            hosts = pc.if_else(pc.is_null(urls), given, hosts)
        return urls, hosts.combine_chunks().dictionary_encode() if isinstance(hosts, pa.ChunkedArray) else hosts.dictionary_encode()

    def _by_directives(self, table: pa.Table) -> pa.Table:
        if not self.drop_directives or "robots_directives" not in table.column_names:
            return table
        given = pc.replace_substring(pc.utf8_lower(pc.fill_null(table.column("robots_directives"), "")), " ", "")
        given = pc.binary_join_element_wise("", given, "", ",")
        for directive in self.drop_directives:
            asked = pc.match_substring(given, f",{directive},")
            table = decide(table, "drop_reason", asked, f"site:directive_{directive}")
        return table


def _covered(entries: Entries, hosts: Sequence[str]) -> np.ndarray:
    """A boolean for each host: whether it or a domain above it is listed."""
    names = [addresses.suffixes(host) for host in hosts]
    owners = np.repeat(np.arange(len(hosts)), [len(suffixes) for suffixes in names])
    listed = entries.has(name for suffixes in names for name in suffixes)
    covered = np.zeros(len(hosts), bool)
    covered[owners[listed]] = True
    return covered


def _known(hashes: np.ndarray, texts: Sequence[str]) -> np.bool_:
    return site_lists.contains(hashes, texts).any()


def _has_word(entries: Entries, urls: pa.ChunkedArray, hosts: Sequence[str], of_row: np.ndarray) -> np.ndarray:
    """A boolean for each row: whether a listed word stands in its address (in its host alone where it has no url)."""
    names = pa.array(hosts, pa.large_string()).take(pa.array(of_row, mask=of_row < 0))
    distinct, numbers, owners = addresses.distinct_words(pc.if_else(pc.is_null(urls), pa.chunked_array([names]), urls))
    listed = entries.has(distinct.to_pylist())
    rows = np.zeros(len(of_row), bool)
    rows[owners[listed[numbers]]] = True
    return rows


def _tested(urls: pa.ChunkedArray, rows: np.ndarray, test: Callable[[str, str], bool]) -> np.ndarray:
    """`test(host, path and query)` of the marked rows that have a url, false elsewhere."""
    result = np.zeros(len(rows), bool)
    for row in np.flatnonzero(rows).tolist():
        host, rest = addresses.host_and_rest(urls[row].as_py() or "")
        result[row] = host is not None and test(host, rest)
    return result


def sites_stage(config: SitesConfig) -> Sites | None:
    """The stage with every list read, checked and hashed; None when nothing is configured.

    Raises UserError for a list that is missing, unreadable or odd (with file and line), and for empty or unusable settings.
    """
    for directive in config.drop_directives:
        if not directive or directive != directive.lower() or "," in directive or " " in directive:
            raise UserError(f"sites.drop_directives: '{directive}' is no directive; give names in lower case, such as noai")
    if config.robots and not (config.robots_agents and all(agent.strip() for agent in config.robots_agents)):
        raise UserError("sites.robots_agents is empty or has an empty name; name the user agents to read robots.txt for, such as '*'")
    top_domains = tuple(sorted({_top_domain(name) for name in config.block_top_domains}))
    lists = {
        kind: Files(paths, site_lists.read(kind, paths).digest) if paths else NO_FILES
        for kind, paths in {kind: tuple(getattr(config, kind)) for kind in site_lists.READERS}.items()
    }
    table = Files(config.robots, robots.read_tables(config.robots)[1]) if config.robots else NO_FILES
    if not (top_domains or table.paths or config.drop_directives or any(files.paths for files in lists.values())):
        return None
    return Sites(
        block_top_domains=top_domains, robots=table, robots_agents=config.robots_agents, drop_directives=config.drop_directives, **lists
    )


def _top_domain(name: str) -> str:
    host = addresses.normal_host(name.removeprefix("."))
    if host is None or "." in host:
        raise UserError(f"sites.block_top_domains: '{name}' is no top-level domain; give one label such as xxx")
    return host
