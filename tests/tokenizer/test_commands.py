"""The way of a user: count, train, audit, encode, trace, by the command itself; and wrong input: one sentence and exit code 2."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.__main__ import main
from tests.tokenizer.training_scene import KOREAN, texts

SMALL = ("--vocab-size", "700", "--set", "special_tokens=16", "--set", "seed_syllables=none")


def onnuri(*arguments, capsys=None):
    """(exit code, standard output, standard error) of the command, in this process."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr() if capsys else ("", "")
    return ended.value.code, out, err


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A corpus as a run writes it, its counts, tokenizer and token shards."""
    root = tmp_path_factory.mktemp("commands")
    for language in ("ko", "en"):
        folder = root / f"corpus/phase=general/lang={language}"
        folder.mkdir(parents=True)
        documents = texts(1 if language == "ko" else 2)
        ids = [f"{language}{number}" for number in range(len(documents))]
        table = pa.table({"id": ids, "text": pa.array(documents, pa.large_string()), "domain": ["news", "law"] * 30})
        table = table.append_column("url", pa.array([f"https://x.example/{one}" for one in ids]))
        pq.write_table(table.append_column("source", pa.array(["crawl"] * 60)), folder / "part-00000.parquet")
    (root / "corpus/manifest.json").write_text("{}")
    (root / "corpus/mix-general.yaml").write_text("tokens: 1\n")
    quiet = ("--workers", 1, "-q")
    assert onnuri("tokenizer", "count", root / "corpus", "-o", root / "counts", *quiet)[0] == 0
    assert onnuri("tokenizer", "train", root / "counts", "-o", root / "tokenizer", *SMALL, *quiet)[0] == 0
    assert onnuri("tokenizer", "encode", root / "corpus", "--tokenizer", root / "tokenizer", "-o", root / "shards", *quiet)[0] == 0
    return root


def test_from_corpus_to_a_traced_token(made, capsys):
    code, out, _ = onnuri("tokenizer", "audit", made / "tokenizer", "--json", capsys=capsys)
    assert code == 0 and json.loads(out)["exact"]
    shard = next((made / "shards").rglob("lang=ko/source=crawl/domain=law/*.bin"))
    code, out, _ = onnuri("trace", shard, 40, "--tokenizer", made / "tokenizer", "--json", capsys=capsys)
    found = json.loads(out)
    assert code == 0 and found["url"] == f"https://x.example/{found['id']}" and found["domain"] == "law" and found["lang"] == "ko"
    code, out, _ = onnuri("trace", made / "shards", found["id"], "--json", capsys=capsys)
    assert code == 0 and [place["document"] for place in json.loads(out)] == [found["document"]]


def test_what_is_printed(made, capsys):
    code, out, _ = onnuri("tokenizer", "count", made / "corpus", "-o", made / "counts", "-q", "--workers", 1, capsys=capsys)
    assert code == 0 and "120 documents" in out and "left out" in out
    code, out, _ = onnuri("tokenizer", "evaluate", made / "tokenizer", "--texts", made / "corpus/phase=general", capsys=capsys)
    assert code == 0 and "tokens/word" in out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("count", "{tmp}/none"), "no file matches"),
        (("count", "{made}/tokenizer/README.md"), "can't tell the format|reads Parquet or JSONL"),
        (("count", "{made}/corpus", "--text-column", "body"), "has no column 'body'"),
        (("count", "{made}/corpus", "--set", "min_cuont=2"), "did you mean 'min_count'"),
        (("train", "{made}/corpus"), "holds no counts"),
        (("train", "{made}/counts", "--vocab-size", "100000"), "use a --vocab-size of at most"),
        (("train", "{made}/counts", "--vocab-size", "300"), "has no room for merges"),
        (("train", "{made}/counts", "--split", "ko=0.5,en=0.6"), "add up to 1.1"),
        (("train", "{made}/counts", "--split", "en=0.5,fr=0.5"), "'fr'"),
        (("train", "{made}/counts", "--split", "ja=0.5,zh=0.5"), "both written in Han"),
        (("train", "{made}/counts", "--split", "half"), "write it like ko=0.5,en=0.5"),
        (("encode", "{made}/corpus", "--tokenizer", "{made}/counts"), "has no tokenizer.json"),
    ],
)
def test_wrong_input_is_one_sentence(made, tmp_path, capsys, arguments, sentence):
    import re

    filled = [argument.format(made=made, tmp=tmp_path) for argument in arguments]
    code, out, err = onnuri("tokenizer", *filled, "-o", tmp_path / "out", "-q", "--workers", 1, capsys=capsys)
    assert code == 2 and re.search(sentence, err), err
    assert err.startswith("onnuri: ") and err.count("\n") == 1 and not out


def test_nothing_to_encode(made, tmp_path, capsys):
    (tmp_path / "broken.jsonl").write_text("not json\n")
    arguments = ("--tokenizer", made / "tokenizer", "-o", tmp_path / "out", "-q", "--workers", 1)
    code, _, err = onnuri("tokenizer", "encode", tmp_path / "broken.jsonl", *arguments, capsys=capsys)
    assert code == 2 and "there is nothing to encode: no text (1)" in err


def test_shards_are_of_one_tokenizer(made, tmp_path, capsys):
    code, _, _ = onnuri("tokenizer", "train", made / "counts", "-o", tmp_path / "t", *SMALL[:1], "600", *SMALL[2:], "-q", capsys=capsys)
    assert code == 0
    code, _, err = onnuri("tokenizer", "encode", made / "corpus", "--tokenizer", tmp_path / "t", "-o", made / "shards", "-q", capsys=capsys)
    assert code == 2 and "tokenizer" in err
    code, _, err = onnuri("trace", next((made / "shards").rglob("*.bin")), 10**9, capsys=capsys)
    assert code == 2 and "give a position inside" in err
    code, _, err = onnuri("trace", made / "shards", "nobody", capsys=capsys)
    assert code == 2 and "holds the document 'nobody'" in err


def test_an_audit_that_fails_is_exit_code_one(made, capsys):
    code, out, err = onnuri("tokenizer", "audit", made / "tokenizer", "--split", "ko=0.7,en=0.3", capsys=capsys)
    assert code == 1 and "NOT exact" in out and "does not pass" in err
    assert KOREAN[0] in out or "ko" in out
