"""The document table: every column the platform knows, with its type, meaning, unit and writer.

A document is one row. Each stage adds columns and never changes what an earlier stage wrote, except `text`, which `refine`
may repair. Shards on disk hold a subset of these columns, always in the order of this file, so that equal content is equal bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa


@dataclass(frozen=True)
class Column:
    """One column of the document table: Arrow type, meaning (with unit), and the move that writes it."""

    name: str
    type: pa.DataType
    meaning: str
    writer: str


MATCH = pa.struct(
    [
        pa.field("benchmark", pa.string()),
        pa.field("split", pa.string()),
        pa.field("item", pa.string()),
        pa.field("field", pa.string()),
        pa.field("entry", pa.int32()),
        pa.field("start", pa.int64()),
        pa.field("end", pa.int64()),
        pa.field("item_start", pa.int64()),
        pa.field("item_end", pa.int64()),
        pa.field("length", pa.int32()),
        pa.field("coverage", pa.float64()),
        pa.field("item_coverage", pa.float64()),
        pa.field("frequency", pa.int32()),
        pa.field("required", pa.int32()),
        pa.field("answered", pa.bool_()),
        pa.field("corpus_documents", pa.int32()),
    ]
)
"""One benchmark match inside a document, as `decontam.MATCH_SCHEMA` has it: `entry` is the number of the text among those of the benchmark,
`start`/`end` are UTF-8 byte offsets into `text`, `item_start`/`item_end` into the benchmark's text, `length` counts normalised characters,
`coverage` is the share of the item that the match covers, `item_coverage` that of all its matches in this document, `frequency` the number
of items that hold its rarest part, `required` the length that had to be reached in the match's script (a shorter match is a whole short
item), `answered` whether the item's answer stands in the document, too, and `corpus_documents` in how many documents of the corpus the
match's rarest part stands."""


CUT_LINE = pa.struct([pa.field("line", pa.int32()), pa.field("reason", pa.string()), pa.field("text", pa.string())])
"""One line cut from a document: its number before the cut (0-based, empty lines counted), why, and what it said (personal data masked)."""

CUT_PASSAGE = pa.struct(
    [
        pa.field("start", pa.int64()),
        pa.field("end", pa.int64()),
        pa.field("kind", pa.string()),
        pa.field("document", pa.string()),
        pa.field("copies", pa.int64()),
    ]
)
"""One passage that dedup cut: `start`/`end` are UTF-8 byte offsets into the text before the cut, `kind` is paragraph or substring,
`document` the id of the document in which it stays (the same document for a passage repeated within it), `copies` the places (substring)
or documents (paragraph) that held it."""

LANGUAGE_SHARE = pa.struct([pa.field("lang", pa.string()), pa.field("share", pa.float64())])
"""A language and the share of the document's letters that stand in its paragraphs."""

LABEL = pa.struct([pa.field("model", pa.string()), pa.field("label", pa.string()), pa.field("score", pa.float64())])
"""One of the most likely labels that a model gives a document, and its probability (0 to 1)."""


def _columns(writer: str, *rows: tuple[str, pa.DataType, str]) -> tuple[Column, ...]:
    return tuple(Column(name, type_, meaning, writer) for name, type_, meaning in rows)


_STRING, _I32, _I64, _REAL = pa.string(), pa.int32(), pa.int64(), pa.float64()

COLUMNS: tuple[Column, ...] = (
    *_columns(
        "ingest",
        ("id", _STRING, "xxh3-128 (hex) of source, file and position: the same in every run over the same files"),
        ("source", _STRING, "name of the configured input this document came from"),
        ("source_id", _STRING, "the id that the input file gave the record, if it had one"),
        ("file", _STRING, "file the record was read from, relative to its input; `archive!member` inside an archive"),
        (
            "position",
            _I64,
            "byte of the record (JSONL: of the uncompressed stream; WARC: of the file), row (Parquet) or member number (tar)",
        ),
        ("url", _STRING, "address the document was fetched from"),
        ("canonical_url", _STRING, "address that the page names as its own (`rel=canonical`, else `og:url`)"),
        ("host", _STRING, "host name of `url`, lower case, without port and leading www."),
        ("date", _STRING, "publication or crawl date as ISO 8601, as far as known"),
        ("title", _STRING, "title given by the page or record"),
        (
            "robots_directives",
            _STRING,
            "what robots meta tags, X-Robots-Tag and tdm-reservation ask for, sorted and comma-separated: noarchive,noindex",
        ),
        ("license", _STRING, "licence marks of the page, sorted and comma-separated: CC-BY-SA-4.0, CC0-1.0, KOGL-1 to KOGL-4"),
        ("http_status", _I32, "HTTP status of the response, for archive records"),
        ("mime", _STRING, "media type without parameters"),
        (
            "charset",
            _STRING,
            "encoding the bytes were decoded with; `utf-8/cp949` and `utf-8/utf-8` are repaired mojibake, `cp949+utf-8` a page of both",
        ),
        ("charset_source", _STRING, "how the encoding was chosen: bom, utf-8, http, meta or detector"),
        ("replacement_ratio", _REAL, "share of characters that are U+FFFD after decoding"),
        ("raw", pa.large_binary(), "undecoded payload, present only between reading and extraction, never on disk"),
        ("raw_kind", _STRING, "html or text: what `raw` holds, present only between reading and extraction"),
        ("charset_declared", _STRING, "charset named by the HTTP header or archive, present only before decoding"),
        ("text", pa.large_string(), "the document's text"),
        ("text_bytes", _I64, "UTF-8 bytes of `text`"),
        ("meta", pa.large_string(), "the input record's other fields, as one JSON object"),
    ),
    *_columns(
        "refine",
        ("cut_lines", pa.list_(CUT_LINE), "boilerplate lines that were cut from `text`, with reason; empty where nothing was cut"),
        ("boilerplate_line_ratio", _REAL, "share of lines made of page furniture, counted before lines are cut"),
        ("boilerplate_byte_ratio", _REAL, "share of the bytes of `text` in such lines, counted before lines are cut"),
        ("lang", _STRING, "ko, en, mixed (Korean and English), or another ISO 639-1 code, or und"),
        ("lang_score", _REAL, "confidence of `lang`, 0 to 1"),
        ("paragraph_langs", pa.list_(LANGUAGE_SHARE), "languages of the paragraphs with their share of the letters, largest first"),
        ("chars", _I32, "Unicode characters in `text`"),
        ("words", _I32, "whitespace-separated words (Korean: eojeol)"),
        ("lines", _I32, "non-empty lines"),
        ("sentences", _I32, "sentences: runs of terminal punctuation, Korean and full-width included, and line ends after other text"),
        ("mean_word_length", _REAL, "characters per word (Gopher)"),
        ("max_word_length", _I32, "characters of the longest word (C4 discards lines with words over 1,000)"),
        ("alpha_word_ratio", _REAL, "share of words with at least one letter (Gopher)"),
        (
            "estimated_alpha_ratio",
            _REAL,
            "share of Korean morphemes with a letter, estimated from characters: FineWeb2 kor_Hang's alpha ratio without an analyser",
        ),
        ("symbol_word_ratio", _REAL, "number of `#` and ellipses per word (Gopher)"),
        ("bullet_line_ratio", _REAL, "share of lines that start with a bullet (Gopher)"),
        ("ellipsis_line_ratio", _REAL, "share of lines that end with an ellipsis (Gopher)"),
        ("stop_words", _I32, "number of distinct English stop words present, of Gopher's eight"),
        ("line_end_punct_ratio", _REAL, "share of lines that end in terminal punctuation, Korean and full-width marks included (FineWeb)"),
        ("short_line_ratio", _REAL, "share of lines with fewer than 30 characters (FineWeb)"),
        ("newline_ratio", _REAL, "newlines per word (FineWeb)"),
        ("list_line_ratio", _REAL, "share of lines of at most three words without a sentence end: menus, lists, tables"),
        ("url_word_ratio", _REAL, "share of words that contain http://, https:// or www."),
        ("upper_ratio", _REAL, "share of ASCII letters that are capitals"),
        ("c4_line_ratio", _REAL, "share of lines that C4 retains: terminal punctuation, 3 words, no javascript, no policy phrase"),
        ("c4_sentences", _I32, "sentences in the lines that C4 retains"),
        ("curly_brackets", _I32, "number of `{` (C4)"),
        ("lorem_ipsum", _I32, "occurrences of `lorem ipsum` (C4)"),
        ("bad_words", _I32, "obscene words (C4's rule with a short list of our own, Korean and English)"),
        ("hangul_ratio", _REAL, "share of letters that are Hangul syllables or jamo"),
        ("latin_ratio", _REAL, "share of letters that are Latin"),
        ("digit_ratio", _REAL, "share of non-space characters that are digits"),
        ("replacement_char_ratio", _REAL, "share of characters that are U+FFFD or controls"),
        ("conjoining_jamo_ratio", _REAL, "share of characters that are conjoining jamo, left over after NFC"),
        ("josa_word_ratio", _REAL, "share of Hangul words that end in a particle or verb ending: low in lists of keywords"),
        ("long_eojeol_ratio", _REAL, "share of Hangul words with more than 12 syllables: missing spaces"),
        ("single_syllable_ratio", _REAL, "share of Hangul words of one syllable: letter-spaced text"),
        ("korean_stop_words", _I32, "distinct Korean function words and endings present (FineWeb2's 21 stop words as eojeol endings)"),
        ("korean_end_line_ratio", _REAL, "share of lines that end in a Korean sentence ending (다, 요, 죠, 까, 음, 함)"),
        ("jamo_run_ratio", _REAL, "share of characters in runs of 3 or more compatibility jamo (laughter, crying)"),
        ("dup_line_ratio", _REAL, "share of lines that repeat an earlier line (Gopher)"),
        ("dup_line_char_ratio", _REAL, "share of characters in such lines (Gopher)"),
        ("dup_paragraph_ratio", _REAL, "share of paragraphs (parted by empty lines) that repeat an earlier one (Gopher)"),
        ("dup_paragraph_char_ratio", _REAL, "share of characters in such paragraphs (Gopher)"),
        ("top_2gram_char_ratio", _REAL, "characters in the most frequent word 2-gram, per character; overlaps count again (Gopher)"),
        ("top_3gram_char_ratio", _REAL, "characters in the most frequent word 3-gram, per character; overlaps count again (Gopher)"),
        ("top_4gram_char_ratio", _REAL, "characters in the most frequent word 4-gram, per character; overlaps count again (Gopher)"),
        ("dup_5gram_char_ratio", _REAL, "share of characters in repeated word 5-grams, each counted once (Gopher)"),
        ("dup_6gram_char_ratio", _REAL, "share of characters in repeated word 6-grams, each counted once (Gopher)"),
        ("dup_7gram_char_ratio", _REAL, "share of characters in repeated word 7-grams, each counted once (Gopher)"),
        ("dup_8gram_char_ratio", _REAL, "share of characters in repeated word 8-grams, each counted once (Gopher)"),
        ("dup_9gram_char_ratio", _REAL, "share of characters in repeated word 9-grams, each counted once (Gopher)"),
        ("dup_10gram_char_ratio", _REAL, "share of characters in repeated word 10-grams, each counted once (Gopher)"),
        ("spam_words", _I32, "number of gambling, adult and spam phrases (Korean and English list), josa-tolerant"),
        ("ad_phrases", _I32, "phrases of shops, paid posts and advertisements (Korean and English list)"),
        (
            "morphemes",
            _I32,
            "morphemes of Korean text, by Kiwi, marks left out; this and the next columns are null unless refine.kiwi is on",
        ),
        ("mean_morpheme_length", _REAL, "characters per morpheme, marks left out (FineWeb2 kor_Hang)"),
        ("alpha_morpheme_ratio", _REAL, "share of morphemes with at least one letter (FineWeb2 kor_Hang)"),
        ("symbol_morpheme_ratio", _REAL, "number of `#` and ellipses per morpheme (Gopher)"),
        ("stop_morphemes", _I32, "number of FineWeb2's 21 Korean stop morphemes that occur"),
        ("newline_morpheme_ratio", _REAL, "newlines per morpheme (FineWeb2)"),
        ("top_2morpheme_char_ratio", _REAL, "characters in the most frequent morpheme 2-gram, per character (Gopher)"),
        ("top_3morpheme_char_ratio", _REAL, "characters in the most frequent morpheme 3-gram, per character (Gopher)"),
        ("top_4morpheme_char_ratio", _REAL, "characters in the most frequent morpheme 4-gram, per character (Gopher)"),
        ("dup_5morpheme_char_ratio", _REAL, "share of characters in repeated morpheme 5-grams (Gopher)"),
        ("dup_6morpheme_char_ratio", _REAL, "share of characters in repeated morpheme 6-grams (Gopher)"),
        ("dup_7morpheme_char_ratio", _REAL, "share of characters in repeated morpheme 7-grams (Gopher)"),
        ("dup_8morpheme_char_ratio", _REAL, "share of characters in repeated morpheme 8-grams (Gopher)"),
        ("dup_9morpheme_char_ratio", _REAL, "share of characters in repeated morpheme 9-grams (Gopher)"),
        ("dup_10morpheme_char_ratio", _REAL, "share of characters in repeated morpheme 10-grams (Gopher)"),
        ("pii_email", _I32, "e-mail addresses replaced in `text`"),
        ("pii_phone", _I32, "telephone numbers replaced in `text`"),
        ("pii_rrn", _I32, "Korean resident registration numbers replaced in `text`"),
        ("pii_card", _I32, "payment card numbers (issuer prefix and Luhn-valid) replaced in `text`"),
        ("pii_ip", _I32, "public IPv4 and IPv6 addresses replaced in `text`"),
        ("pii_account", _I32, "bank account numbers (beside a bank's name or a word such as 계좌) replaced in `text`"),
        ("pii_passport", _I32, "passport numbers (beside a word that says so) replaced in `text`"),
        ("pii_driver", _I32, "Korean driver's licence numbers (beside a word that says so) replaced in `text`"),
    ),
    *_columns(
        "dedup",
        ("cluster", _STRING, "id of the surviving document of this duplicate cluster (its own id for a survivor)"),
        ("cluster_size", _I32, "documents in the cluster, the survivor included; 1 for a unique document"),
        ("similarity", _REAL, "estimated or exact Jaccard similarity to the survivor; 1.0 for exact duplicates"),
        ("rehydration_weight", _I32, "times a kept document may be repeated for the copies that it stands for, by `dedup.rehydration`"),
        ("cut_passages", pa.list_(CUT_PASSAGE), "repeated passages that were cut from `text`; empty where nothing was cut"),
    ),
    *_columns(
        "classify",
        ("domain", _STRING, "most likely label of the domain model"),
        ("domain_score", _REAL, "its probability, 0 to 1"),
        ("quality", _REAL, "probability of the quality model's positive label, 0 to 1"),
        ("labels", pa.list_(LABEL), "most likely labels of each model whose `top` is 1 or more, by model, then best first"),
    ),
    *_columns(
        "decontaminate",
        ("contamination", pa.list_(MATCH), "benchmark text found in this document, with evidence; empty for a clean document"),
    ),
    *_columns(
        "balance",
        ("tokens", _I64, "estimated training tokens of `text`"),
        ("epochs_general", _I32, "times the document appears in phase `general`; 0 = not in it"),
        ("epochs_domain", _I32, "times the document appears in phase `domain`, its replay included; 0 = not in it"),
        ("replay_epochs", _I32, "of `epochs_domain`, those that repeat phase `general`"),
        ("long_document", pa.bool_(), "whether the document has at least `balance.long_document_tokens` tokens, for context extension"),
    ),
    *_columns(
        "engine",
        ("drop_stage", _STRING, "stage that dropped the row (in `dropped/`)"),
        ("drop_reason", _STRING, "why it was dropped (in `dropped/`); never null there"),
        ("error", _STRING, "what is wrong with the record (in `quarantine/`); never null there"),
        ("excerpt", _STRING, "start of the offending record, digits and addresses masked (in `quarantine/`)"),
    ),
)

BY_NAME: dict[str, Column] = {column.name: column for column in COLUMNS}
ORDER: dict[str, int] = {column.name: index for index, column in enumerate(COLUMNS)}

TRANSIENT = frozenset({"raw", "raw_kind", "charset_declared"})
"""Columns that exist only inside the ingest segment."""


def arrow_schema(names: frozenset[str] | set[str] | list[str]) -> pa.Schema:
    """The Arrow schema of these columns, in document-table order.

    Raises KeyError for a name that is not in COLUMNS: that is a bug in a stage, not in the input.
    """
    return pa.schema([pa.field(name, BY_NAME[name].type) for name in sorted(names, key=ORDER.__getitem__)])


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """`table` with exactly the columns of `schema`: missing ones become null, others are left out, types are cast."""
    arrays = [
        table.column(field.name).cast(field.type) if field.name in table.column_names else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.table(arrays, schema=schema)


def with_columns(table: pa.Table, columns: dict[str, Any]) -> pa.Table:
    """`table` with these columns set or replaced; values are Arrow arrays, numpy arrays or lists, cast to the declared type."""
    for name, values in columns.items():
        type_ = BY_NAME[name].type
        array = values if isinstance(values, (pa.Array, pa.ChunkedArray)) else pa.array(values, type=type_)
        array = array if array.type == type_ else array.cast(type_)
        field = pa.field(name, type_)
        index = table.schema.get_field_index(name)
        table = table.append_column(field, array) if index < 0 else table.set_column(index, field, array)
    return table
