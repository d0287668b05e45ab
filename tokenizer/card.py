"""The model card: what a tokenizer is, what it was trained on, what the audit found, and how to use it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizer.audit import Audit

CARD = "README.md"

LANGUAGES = {
    "ar": "Arabic", "el": "Greek", "en": "English", "he": "Hebrew", "hi": "Hindi", "ja": "Japanese", "ko": "Korean", "ru": "Russian",
    "th": "Thai", "zh": "Chinese",
}  # fmt: skip


def write_card(folder: Path, found: Audit, facts: Mapping[str, Any], own_template: bool) -> None:
    """Write README.md. facts: `config`, `counts`, `words` and `kiwi` as the manifest has them."""
    (folder / CARD).write_text(render_card(found, facts, own_template), encoding="utf-8")


def render_card(found: Audit, facts: Mapping[str, Any], own_template: bool) -> str:
    """The card as Markdown. It holds nothing that differs from run to run, such as times."""
    config = facts["config"]
    languages = [] if config["plain"] else list(config["split"])
    sections = [
        _head(found, languages, config),
        "## Vocabulary",
        _what_for(found, config),
        _audit_table(found, languages),
        "## Trained on",
        _provenance(facts),
        _words_table(facts["words"]),
        "## Settings",
        _settings(config, facts["kiwi"]),
        "## Use",
        _USE,
        "## Chat",
        _CHAT if own_template else "The chat template is in `chat_template.jinja`.",
        "## Licence",
        _LICENCE,
    ]
    return "\n\n".join(sections) + "\n"


def _head(found: Audit, languages: list[str], config: Mapping[str, Any]) -> str:
    names = " and ".join(LANGUAGES[language] for language in languages)
    listed = "".join(f"- {language}\n" for language in languages)
    front = f"---\nlibrary_name: transformers\ntags:\n- tokenizer\n{'language:' + chr(10) + listed if listed else ''}---\n\n"
    what = f"byte-level BPE tokenizer for {names}" if names else "byte-level BPE tokenizer"
    made = "Made by `onnuri tokenizer train`. No text is outside of it: what has no token is written in bytes."
    return f"{front}# A {what}, {found.size:,} tokens\n\n{made}"


def _what_for(found: Audit, config: Mapping[str, Any]) -> str:
    if config["plain"]:
        return "All words were learned from together; no language has a share."
    shares = ", ".join(f"{LANGUAGES[language]} {share:.4g}" for language, share in config["split"].items())
    exact = "exactly" if found.exact else "not exactly"
    return (
        f"The shares asked for were {shares}; the vocabulary has them {exact}, as its bytes alone tell (`onnuri tokenizer audit`). "
        "No token holds letters of two scripts. Fragments are tokens that begin or end inside a character."
    )


def _audit_table(found: Audit, languages: list[str]) -> str:
    together = sum(found.counts[language] for language in found.split)
    rows = ["| kind | tokens | share of languages | fragments |", "|---|---:|---:|---:|"]
    for name, count in found.counts.items():
        share = f"{count / together:.2%}" if name in languages and together else ""
        rows.append(f"| {LANGUAGES.get(name, name)} | {count:,} | {share} | {_number(found.fragments.get(name))} |")
    return "\n".join([*rows, f"| together | {found.size:,} | | |"])


def _provenance(facts: Mapping[str, Any]) -> str:
    rows = ["| counts (fingerprint) | documents | bytes of text | distinct words |", "|---|---:|---:|---:|"]
    for source in facts["counts"]:
        numbers = " | ".join(_number(source[key]) for key in ("documents", "text_bytes", "words"))
        rows.append(f"| `{source['fingerprint']}` | {numbers} |")
    return "\n".join(rows)


def _words_table(words: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        "| list | distinct words learned from | occurrences | left out: rare | left out: beyond max_words |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, facts in words.items():
        left_out = (_number(facts[key]["words"]) for key in ("rare", "beyond"))
        rows.append(f"| {LANGUAGES.get(name, name)} | {facts['words']:,} | {facts['occurrences']:,} | {' | '.join(left_out)} |")
    return "\n".join(rows)


def _settings(config: Mapping[str, Any], kiwi: str | None) -> str:
    rows = [f"- `{key}`: {json.dumps(value)}" for key, value in config.items()]
    return "\n".join([*rows, *([f"- morphemes by {kiwi}"] if kiwi else [])])


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else ""


_USE = """Texts are brought to NFC, cut into words by Qwen2's pattern (each digit alone), and encoded by byte-level BPE.

```python
from transformers import AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")

from tokenizers import Tokenizer
tokenizer = Tokenizer.from_file("path/to/this/folder/tokenizer.json")
```

`vocabulary.parquet` has a row per token with its bytes, kind, list, merge and count. `<|eos|>` closes a document, `<|pad|>` pads. No token
is added to a text on its own."""

_CHAT = """`chat_template.jinja` writes a turn as `<|system|>`, `<|user|>`, `<|assistant|>` or `<|tool|>`, the text as it is, and
`<|end|>`, with nothing between turns. Tools stand in the first system turn, one as JSON per line; the assistant calls one with
`<|tool_call|>{"name": ..., "arguments": {...}}<|tool_call_end|>`. With `return_assistant_tokens_mask=True`, `apply_chat_template`
marks what the assistant says, its `<|end|>` included.

A text that contains the letters `<|assistant|>` would begin a turn when it is encoded with the rest of the rendered conversation.
Texts from outside are therefore encoded alone, with `tokenizer.encode(text, split_special_tokens=True)`, and the special ids are put
around them."""

_LICENCE = """The software that made these files is under the Apache License 2.0. The files hold tokens, merges and counts, and no text of
the corpus; whether the licences of the corpus reach them is for whoever publishes them to say."""
