"""The special tokens, named once. They take the first ids, and lie inside the vocabulary size."""

from __future__ import annotations

from pathlib import Path

PAD = "<|pad|>"
BOS = "<|bos|>"
EOS = "<|eos|>"
"""Closes every document of a token shard."""

SYSTEM, USER, ASSISTANT, TOOL = "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>"
"""Each opens a turn of the chat template."""

END = "<|end|>"
"""Closes a turn."""

TOOL_CALL, TOOL_CALL_END = "<|tool_call|>", "<|tool_call_end|>"
FIM_PREFIX, FIM_MIDDLE, FIM_SUFFIX = "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"

NAMED = (PAD, BOS, EOS, SYSTEM, USER, ASSISTANT, TOOL, END, TOOL_CALL, TOOL_CALL_END, FIM_PREFIX, FIM_MIDDLE, FIM_SUFFIX)

CHAT_TEMPLATE = Path(__file__).with_name("chat_template.jinja")
"""Our own, which uses them; `export` says how to use it safely."""

TOTAL = 256
"""Named and reserved ones together: room for what a later model needs without moving an id."""


def special_tokens(total: int = TOTAL) -> tuple[str, ...]:
    """The named tokens, then `<|reserved_0|>` and so on, `total` of them (at least the named ones)."""
    return NAMED + tuple(f"<|reserved_{index}|>" for index in range(max(0, total - len(NAMED))))
