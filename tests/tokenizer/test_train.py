"""Training: the same bytes from any workers, order and interruption, plain BPE as `tokenizers` learns it, and bad input in a sentence."""

from __future__ import annotations

import json

import pytest
import tokenizers
from tokenizers import Regex, models, normalizers, pre_tokenizers, trainers

from pipeline.engine import LocalEngine
from pipeline.errors import UserError
from tests.tokenizer.training_scene import ENGLISH, KOREAN, OTHERS, counted, texts, trained, written
from tokenizer.special_tokens import special_tokens
from tokenizer.words import PATTERN


@pytest.fixture(scope="module")
def counts(tmp_path_factory):
    """Counts of two halves of some texts, and of both together."""
    root = tmp_path_factory.mktemp("counts")
    first, second = texts(1), texts(2)
    return {
        "first": counted(root / "first", first),
        "second": counted(root / "second", second),
        "both": counted(root / "both", first + second),
    }


def test_same_bytes_for_one_and_two_workers_and_any_folders(counts, tmp_path):
    trained(tmp_path / "inline", [counts["both"]])
    reference = written(tmp_path / "inline")
    for workers in (1, 2):
        engine = LocalEngine(workers)
        try:
            trained(tmp_path / f"workers{workers}", [counts["both"]], engine)
        finally:
            engine.close()
        assert written(tmp_path / f"workers{workers}") == reference
    tables = {}
    for name, folders in (("a", ["first", "second"]), ("b", ["second", "first"])):
        trained(tmp_path / name, [counts[folder] for folder in folders])
        tables[name] = written(tmp_path / name)
    assert tables["a"] == tables["b"]
    assert tables["a"]["tokenizer.json"] == reference["tokenizer.json"]  # the card says which counts; the tokenizer is of their sum


def test_an_interrupted_training_goes_on(counts, tmp_path):
    trained(tmp_path / "whole", [counts["both"]])
    again = tmp_path / "again"
    trained(again, [counts["both"]])
    for path in (again / "manifest.json", again / "tokenizer.json", again / "steps/bpe/ko.parquet", again / "steps/words/receipts/en.json"):
        path.unlink()
    trained(again, [counts["both"]])
    assert written(again) == written(tmp_path / "whole")


def test_another_configuration_leaves_nothing_of_the_first(counts, tmp_path):
    trained(tmp_path / "fresh", [counts["both"]], vocab_size=600, split={"ko": 0.6, "en": 0.3, "ru": 0.1})
    trained(tmp_path / "changed", [counts["both"]])
    trained(tmp_path / "changed", [counts["both"]], vocab_size=600, split={"ko": 0.6, "en": 0.3, "ru": 0.1})
    assert written(tmp_path / "changed") == written(tmp_path / "fresh")
    names = {path.relative_to(tmp_path / "fresh") for path in (tmp_path / "fresh").rglob("*")}
    assert {path.relative_to(tmp_path / "changed") for path in (tmp_path / "changed").rglob("*")} == names


def test_the_manifest_tells_where_it_came_from(counts, tmp_path):
    import hashlib

    manifest = trained(tmp_path / "t", [counts["first"], counts["second"]])
    assert manifest["tokenizer_sha256"] == hashlib.sha256((tmp_path / "t/tokenizer.json").read_bytes()).hexdigest()
    sources = {json.loads((counts[name] / "manifest.json").read_text())["corpus_fingerprint"] for name in ("first", "second")}
    assert {one["corpus_fingerprint"] for one in manifest["counts"]} == sources
    assert manifest["audit"]["counts"]["ko"] == manifest["audit"]["counts"]["en"]
    card = (tmp_path / "t/README.md").read_text()
    assert manifest["counts"][0]["fingerprint"] in card and "Korean" in card


def test_plain_is_what_tokenizers_learns(tmp_path):
    """From texts to ids, through counts, against the library's own way from texts."""
    documents = texts(7)
    trained(tmp_path / "plain", [counted(tmp_path / "counts", documents)], plain=True, max_token_bytes=1000)
    ours = tokenizers.Tokenizer.from_file(str(tmp_path / "plain/tokenizer.json"))
    peer = tokenizers.Tokenizer(models.BPE())
    peer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(PATTERN), "isolated")
    peer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=700, initial_alphabet=alphabet, special_tokens=list(special_tokens(16)), show_progress=False)
    peer.train_from_iterator(documents, trainer)
    assert ours.get_vocab() == peer.get_vocab()
    assert json.loads(ours.to_str())["model"]["merges"] == json.loads(peer.to_str())["model"]["merges"]


def test_few_korean_syllables_are_enough_for_the_seeds(tmp_path):
    counts = counted(tmp_path / "counts", texts(3, 200))
    manifest = trained(tmp_path / "t", [counts], seed_syllables="ksx1001", vocab_size=16 + 256 + 2 * 2600, split={"ko": 0.9, "en": 0.1})
    assert manifest["lists"]["ko"]["seeds"] == 2525 and manifest["audit"]["exact"]


@pytest.mark.parametrize(
    ("alphabets", "sentence"),
    [
        ((KOREAN, KOREAN, *OTHERS[:1]), "hold no words in the script of 'en'"),
        ((ENGLISH, ENGLISH), "hold no words in the script of 'ko'"),
        (("漢字日本", "жизнь"), "hold no words in the script of 'ko'"),
    ],
)
def test_a_language_without_words_is_named(tmp_path, alphabets, sentence):
    with pytest.raises(UserError, match=sentence):
        trained(tmp_path / "t", [counted(tmp_path / "counts", texts(4, alphabets=alphabets))])


def test_more_than_the_words_can_give(counts, tmp_path):
    with pytest.raises(UserError, match="use a --vocab-size of at most about"):
        trained(tmp_path / "t", [counts["first"]], vocab_size=50_000)
    with pytest.raises(UserError, match="seed_syllables: ksx1001 takes 2,525 tokens"):
        trained(tmp_path / "t", [counts["first"]], seed_syllables="ksx1001")


def test_counts_that_are_none_of_ours(counts, tmp_path):
    with pytest.raises(UserError, match="there is no folder"):
        trained(tmp_path / "t", [tmp_path / "nowhere"])
    with pytest.raises(UserError, match="hold the same counts"):
        trained(tmp_path / "t", [counts["first"], counts["first"]])
    with pytest.raises(UserError, match="there are no counts"):
        trained(tmp_path / "t", [])
    other = counted(tmp_path / "other", texts(9))
    manifest = json.loads((other / "manifest.json").read_text())
    (other / "manifest.json").write_text(json.dumps(manifest | {"pattern": "x"}))
    with pytest.raises(UserError, match="another pattern"):
        trained(tmp_path / "t", [other])
    (other / "manifest.json").write_text(json.dumps(manifest))
    next((other / "counts").glob("*.parquet")).write_bytes(b"")
    with pytest.raises(UserError, match="not what was counted"):
        trained(tmp_path / "t", [other])
