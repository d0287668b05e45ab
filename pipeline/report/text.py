"""Numbers and hostile strings made readable: thousands separators, byte units, control characters shown instead of obeyed."""

from __future__ import annotations

import re
from typing import Any

_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
"""C0 and C1 controls, line separators, directional marks and overrides, zero-width and tag characters, lone surrogates."""

_USER_INFO = re.compile(r"://[^/@\s]{1,500}@")
_SECRET_KEY = re.compile(
    r"(?:^|_)(?:secret|password|passwd|credentials?|api_key|access_key|secret_key|access_token|auth_token|token)$", re.IGNORECASE
)


def visible(value: Any, limit: int = 200) -> str:
    r"""`value` as one line of at most `limit` characters: controls and directional overrides become `\n`, `\t`, `\u202e`, a cut …"""
    if value is None:
        return ""
    text = str(value)
    cut = len(text) > limit
    shown = _CONTROL.sub(_escaped, text[:limit])
    if len(shown) > limit:
        shown, cut = shown[:limit], True
    return shown[: limit - 1] + "…" if cut else shown


def visible_lines(text: str, limit: int = 100_000) -> str:
    """As `visible`, but line breaks stay."""
    return "\n".join(visible(line, limit) for line in text[:limit].split("\n"))


def _escaped(match: re.Match[str]) -> str:
    named = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}
    code = ord(match.group())
    return named.get(match.group()) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")


def count(value: float | None) -> str:
    """A whole number with thousands separators; – for none."""
    return "–" if value is None else f"{round(value):,}"


def short_count(value: float | None) -> str:
    """A large number in three digits: 1.23 B, 45.6 M, 78.9 k; below 10,000 in full."""
    if value is None:
        return "–"
    return _scaled(value, ("", " k", " M", " B", " T")) if value >= 1e4 else count(value)


def size(bytes_: float | None) -> str:
    """Bytes in decimal units (1 MB = 10^6 bytes), as rates are given."""
    return "–" if bytes_ is None else _scaled(bytes_, (" B", " kB", " MB", " GB", " TB", " PB"))


def _scaled(value: float, units: tuple[str, ...]) -> str:
    """`value` divided by 1000 as often as there are units for it, with three digits."""
    power = 0
    while abs(value) >= 999.5 and power < len(units) - 1:
        value, power = value / 1000, power + 1
    digits = 0 if power == 0 or value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:,.{digits}f}{units[power]}"


def share(part: float | None, whole: float | None) -> str:
    """`part` of `whole` in percent; – when there is no whole."""
    if part is None or not whole:
        return "–"
    percent = 100 * part / whole
    return (
        f"{percent:.0f} %" if percent in (0, 100) else "<0.1 %" if percent < 0.05 else ">99.9 %" if percent > 99.95 else f"{percent:.1f} %"
    )


def duration(seconds: float | None) -> str:
    """Seconds as 4.2 s, 3 min 05 s, 2 h 10 min, or 3 d 11 h."""
    if seconds is None:
        return "–"
    if seconds < 1:
        return f"{seconds:.2f} s" if seconds >= 0.005 or seconds == 0 else "<0.01 s"
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours = minutes // 60
    if hours >= 48:
        return f"{hours // 24} d {hours % 24} h"
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{hours} h {minutes % 60:02d} min"


def rate(value: float | None, unit: str = "") -> str:
    """A speed with three digits; – when it was not measured."""
    if value is None:
        return "–"
    number = f"{value:,.0f}" if value >= 99.5 else f"{value:.1f}" if value >= 9.95 else f"{value:.2f}"
    return f"{number} {unit}".rstrip()


def without_secrets(value: Any) -> Any:
    """A configuration as it may be published: values of keys that name a secret, and user:password@ in URLs, become ***."""
    if isinstance(value, dict):
        return {
            str(key): "***" if isinstance(inner, str) and inner and _SECRET_KEY.search(str(key)) else without_secrets(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [without_secrets(inner) for inner in value]
    return _USER_INFO.sub("://***@", value) if isinstance(value, str) else value
