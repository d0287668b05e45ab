"""The one exception of this library: a finished sentence about what is wrong, where, and what to do."""

from __future__ import annotations


class DecontamError(ValueError):
    """Bad input, bad settings or an index that must not be used; the message is one sentence meant for the user."""
