"""MinHash: SHA-1 against hashlib, signatures against datasketch itself, in both of the schemes that have 32 bits."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import struct
from itertools import islice, pairwise

import numpy as np
import pyarrow as pa
import pytest
from datasketch import MinHash
from hypothesis import given, settings
from hypothesis import strategies as st

from decontam.normalize import Normalized
from pipeline.dedup.minhash import SCHEMES, minhash_batch, permutation_parameters
from pipeline.dedup.sha1_kernel import BLOCK, LANES, sha1_first_words
from pipeline.dedup.shingles import Shingling, prepare
from pipeline.errors import UserError

LONG_WORD = "supercalifragilisticexpialidocious" * 4
TEXTS = st.lists(
    st.lists(st.sampled_from(["", "a", "word", "한국어", "문서는", "é", "𠮷", "ﬁ", "!?", "각", LONG_WORD, "법" * 70]), max_size=24).map(
        " ".join
    )
    | st.text(max_size=60),
    min_size=1,
    max_size=4,
)
SHINGLINGS = st.builds(
    Shingling, st.just("bytes"), st.sampled_from([1, 4, 27, 55, 56, 64, 119, 120, 256]), st.booleans(), st.sampled_from([0, 1, 2**32 - 1])
) | st.builds(Shingling, st.just("words"), st.sampled_from([1, 2, 5, 64]), st.booleans(), st.just(3))


def prepared(texts: list[str], shingling: Shingling) -> Normalized:
    return prepare(pa.array(texts, pa.large_string()), shingling)


def shingles_of(texts: Normalized, document: int, shingling: Shingling) -> set[bytes]:
    """The definition: for a prepared text, every run of characters or words, as UTF-8."""
    span = slice(texts.offsets[document], texts.offsets[document + 1])
    characters = [chr(code) for code in texts.codepoints[span].tolist()]
    if not characters:
        return set()
    if shingling.unit == "words":
        begins = [place for place, new in enumerate(texts.breaks[span].tolist()) if new or place == 0]
        units = ["".join(characters[begin:end]) for begin, end in pairwise([*begins, len(characters)])]
        runs = [" ".join(units[start : start + shingling.size]) for start in range(max(1, len(units) - shingling.size + 1))]
        return {run.encode() for run in runs}
    found = set()
    for start in range(len(characters)):
        run = b""
        for character in characters[start:]:
            run += character.encode()
            if len(run) >= shingling.size:
                break
        if len(run) >= shingling.size or start == 0:
            found.add(run)
    return found


def datasketch_of(texts: Normalized, document: int, permutations: int, shingling: Shingling, **scheme: str) -> np.ndarray:
    sketch = MinHash(permutations, seed=shingling.seed, **scheme)
    sketch.update_batch(shingles_of(texts, document, shingling))
    return sketch.digest()


def first_words(strings: list[bytes]) -> list[int]:
    ends = np.cumsum([len(one) for one in strings])
    out = np.empty(LANES, np.uint32)
    data = np.frombuffer(b"".join(strings) + b"\xff" * 3, np.uint8)
    sha1_first_words(data, ends - np.array([len(one) for one in strings]), ends, np.empty(BLOCK, np.uint32), out)
    return out.tolist()


def hashlib_words(strings: list[bytes]) -> list[int]:
    return [struct.unpack("<I", hashlib.sha1(one).digest()[:4])[0] for one in strings]


def test_sha1_of_every_length_up_to_four_blocks():
    generator = random.Random(1)
    for length in range(0, 257 - LANES, LANES):
        strings = [generator.randbytes(length + lane) for lane in range(LANES)]
        assert first_words(strings) == hashlib_words(strings)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=300), min_size=LANES, max_size=LANES))
def test_sha1_of_strings_of_different_lengths_side_by_side(strings):
    assert first_words(strings) == hashlib_words(strings)


def test_sha1_of_a_string_of_many_blocks_beside_short_ones():
    strings = [b"x" * 100_003, *[b""] * (LANES - 2), b"abc"]
    assert first_words(strings) == hashlib_words(strings)


@settings(max_examples=150, deadline=None)
@given(TEXTS, SHINGLINGS, st.sampled_from([16, 17, 128]))
def test_equal_to_the_default_of_datasketch(texts, shingling, permutations):
    texts = prepared(texts, shingling)
    ours = minhash_batch(texts, permutations, shingling)
    assert ours.signatures.dtype == MinHash(permutations).digest().dtype == np.uint32
    for document in range(len(texts.offsets) - 1):
        assert ours.signatures[document].tolist() == datasketch_of(texts, document, permutations, shingling).tolist()


@settings(max_examples=60, deadline=None)
@given(TEXTS, SHINGLINGS)
def test_equal_to_the_legacy_scheme_of_datasketch(texts, shingling):
    texts = prepared(texts, shingling)
    ours = minhash_batch(texts, 24, shingling, scheme="legacy")
    for document in range(len(texts.offsets) - 1):
        assert ours.signatures[document].tolist() == datasketch_of(texts, document, 24, shingling, scheme="legacy").tolist()


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("seed", [0, 1, 12345, 2**32 - 1])
def test_permutations_are_those_of_datasketch(scheme, seed):
    theirs = MinHash(40, seed=seed, scheme=scheme).permutations
    ours = permutation_parameters(40, seed, scheme)
    assert [one.tolist() for one in ours] == [one.tolist() for one in theirs]


def test_legacy_where_the_remainder_is_at_its_edges():
    """The prime's own multiples, and numbers just beside them, which documents hardly ever meet."""
    from pipeline.dedup.minhash import _lower_legacy

    prime = (1 << 61) - 1
    wanted = [
        value for multiple in range(9) for value in (multiple * prime - 1, multiple * prime, multiple * prime + 1) if 0 <= value < 2**64
    ]
    shifts = np.array([*wanted, 2**64 - 1], np.uint64)
    least = np.full(len(shifts), 0xFFFFFFFF, np.uint32)
    _lower_legacy(np.ones(len(shifts), np.uint64), shifts, np.zeros(LANES, np.uint32), least)
    assert least.tolist() == [int(value) % prime & 0xFFFFFFFF for value in shifts.tolist()]


def test_filled_counts_all_slots_or_none():
    shingling = Shingling()
    sketches = minhash_batch(prepared(["", " !?\n", "가", "a" * 500], shingling), 128, shingling)
    assert sketches.filled.tolist() == [0, 0, 128, 128] and sketches.filled.dtype == np.uint16
    assert (sketches.signatures[:2] == 0xFFFFFFFF).all() and MinHash(128).digest().tolist() == sketches.signatures[0].tolist()


def test_no_documents():
    shingling = Shingling("words", 5)
    sketches = minhash_batch(prepared([], shingling), 32, shingling)
    assert sketches.signatures.shape == (0, 32) and sketches.filled.shape == (0,)


def test_a_signature_does_not_depend_on_the_batch_or_on_writable_buffers():
    shingling = Shingling("words", 3)
    texts = ["하나 둘 셋 넷 다섯", "", LONG_WORD * 9, "one two three four " * 30]
    together = prepared(texts, shingling)
    for array in (together.codepoints, together.offsets, together.breaks):
        array.flags.writeable = False
    signatures = minhash_batch(together, 32, shingling).signatures
    for index, text in enumerate(texts):
        assert minhash_batch(prepared([text], shingling), 32, shingling).signatures[0].tolist() == signatures[index].tolist()


@pytest.mark.parametrize("scheme", ["affine64", "affine", ""])
def test_schemes_of_other_widths_are_refused(scheme):
    with pytest.raises(UserError, match=f"scheme '{scheme}' .* use affine32 or legacy"):
        minhash_batch(prepared(["text"], Shingling()), 16, Shingling(), scheme)


@pytest.mark.parametrize("path", ["text/ko/petitions.jsonl.gz", "text/en/peps.jsonl.gz", "text/ko/movie_reviews_nsmc_raw.jsonl.gz"])
@pytest.mark.parametrize("shingling", [Shingling(), Shingling("words", 5, True, 9)])
def test_real_documents_as_datasketch_has_them(shared_data, path, shingling):
    with gzip.open(shared_data / path, "rt", encoding="utf-8") as stream:
        texts = prepared([json.loads(line)["text"] for line in islice(stream, 12)], shingling)
    ours = minhash_batch(texts, 128, shingling).signatures
    for document in range(12):
        assert ours[document].tolist() == datasketch_of(texts, document, 128, shingling).tolist()
