"""Training on counts: the same bytes however the work is done, exact shares, HF's tokenizer when plain, and a sentence for bad input."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from pipeline.__main__ import main
from pipeline.engine import LocalEngine, Task, run_task
from pipeline.errors import UserError
from tests.tokenizer.training_scene import ENGLISH, KOREAN, OTHERS, counted, texts, trained, written
from tokenizer import card
from tokenizer.encoder import load_tokenizer
from tokenizer.seeds import ksx1001_syllables
from tokenizer.special_tokens import special_tokens
from tokenizer.train import TrainConfig
from tokenizer.unicode_classes import SCRIPTS
from tokenizer.words import PATTERN

DOCUMENTS = texts(1, 200)


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Counts in several files."""
    return counted(tmp_path_factory.mktemp("train") / "counts", DOCUMENTS, partition_words=900)


@pytest.fixture(scope="module")
def finished(counts: Path) -> Path:
    trained(counts.parent / "finished", [counts])
    return counts.parent / "finished"


def test_the_manifest_leads_back_to_the_counts(finished: Path, counts: Path) -> None:
    manifest = json.loads((finished / "manifest.json").read_text(encoding="utf-8"))
    counted_manifest = json.loads((counts / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["tokenizer_sha256"] == load_tokenizer(finished).sha256
    assert manifest["finished"] and manifest["pattern"] == PATTERN and manifest["vocab_size"] == 700
    (source,) = manifest["counts"]
    assert source["documents"] == len(DOCUMENTS) and source["words"] == counted_manifest["words"]
    assert source["corpus_fingerprint"] == counted_manifest["corpus_fingerprint"]
    assert manifest["audit"]["exact"] and manifest["audit"]["counts"]["ko"] == manifest["audit"]["counts"]["en"]
    card = (finished / "README.md").read_text(encoding="utf-8")
    assert source["fingerprint"] in card and "exactly" in card and f"| Korean | {manifest['audit']['counts']['ko']} |" in card


def test_two_workers_make_the_same_bytes(finished: Path, counts: Path, tmp_path: Path) -> None:
    engine = LocalEngine(2)
    try:
        trained(tmp_path / "two", [counts], engine)
    finally:
        engine.close()
    assert written(tmp_path / "two") == written(finished)


def test_counts_in_one_folder_or_several_in_any_order(finished: Path, tmp_path: Path) -> None:
    halves = [counted(tmp_path / name, part) for name, part in (("a", DOCUMENTS[:80]), ("b", DOCUMENTS[80:]))]
    trained(tmp_path / "ab", halves)
    trained(tmp_path / "ba", halves[::-1])
    assert written(tmp_path / "ab") == written(tmp_path / "ba")
    assert (tmp_path / "ab" / "tokenizer.json").read_bytes() == (finished / "tokenizer.json").read_bytes()


class KilledEngine:
    """Stops after some tasks, as a killed driver does."""

    name, workers = "local", 1

    def __init__(self, tasks: int) -> None:
        self.left = tasks

    def map(self, tasks: Sequence[Task]) -> Any:
        for task in tasks:
            if self.left == 0:
                raise KeyboardInterrupt
            self.left -= 1
            yield run_task(task)

    def close(self) -> None: ...


def test_a_run_killed_at_every_moment_comes_to_the_same_bytes(finished: Path, counts: Path, tmp_path: Path) -> None:
    for tasks in (0, 2, 3, 1, 2, 1):
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "killed", [counts], KilledEngine(tasks))
        assert not json.loads((tmp_path / "killed" / "manifest.json").read_text(encoding="utf-8"))["finished"]
    trained(tmp_path / "killed", [counts])
    assert written(tmp_path / "killed") == written(finished)


def test_a_lost_receipt_redoes_its_task_alone(finished: Path, counts: Path, tmp_path: Path) -> None:
    trained(tmp_path / "run", [counts])
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*.parquet")}
    receipt = next((tmp_path / "run" / "steps" / "bpe" / "receipts").glob("ko*"))
    receipt.unlink()
    trained(tmp_path / "run", [counts])
    changed = {str(path.relative_to(tmp_path / "run")) for path, when in before.items() if path.stat().st_mtime_ns != when}
    assert changed == {"steps/bpe/ko.parquet"}
    assert written(tmp_path / "run") == written(finished)


def test_another_configuration_leaves_nothing_of_the_earlier_one(finished: Path, counts: Path, tmp_path: Path) -> None:
    trained(tmp_path / "run", [counts], split={"ko": 0.25, "en": 0.75}, vocab_size=650)
    assert written(tmp_path / "run") != written(finished)
    trained(tmp_path / "run", [counts], plain=True)
    trained(tmp_path / "run", [counts])
    assert written(tmp_path / "run") == written(finished)
    steps = {str(path.relative_to(tmp_path / "run")) for path in (tmp_path / "run" / "steps").rglob("*.parquet")}
    assert steps == {str(path.relative_to(finished)) for path in (finished / "steps").rglob("*.parquet")}


def test_plain_is_what_the_trainer_of_tokenizers_makes_of_the_same_texts(counts: Path, tmp_path: Path) -> None:
    trained(tmp_path / "plain", [counts], plain=True, max_token_bytes=1000)
    theirs = Tokenizer(models.BPE())
    theirs.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(PATTERN), "isolated")
    theirs.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=list(special_tokens(16)), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    theirs.train_from_iterator(DOCUMENTS, trainer)
    ours = json.loads((tmp_path / "plain" / "tokenizer.json").read_text(encoding="utf-8"))
    assert ours["model"] == json.loads(theirs.to_str())["model"]
    mine = Tokenizer.from_file(str(tmp_path / "plain" / "tokenizer.json"))
    for text in texts(2, 50):
        assert mine.encode(text).ids == theirs.encode(text).ids


def test_rare_words_and_words_beyond_the_most_are_told(counts: Path, tmp_path: Path) -> None:
    manifest = trained(tmp_path / "some", [counts], vocab_size=320, min_count=2, max_words=50)
    for facts in manifest["words"].values():
        assert facts["words"] <= 50
        assert facts["words"] + facts["rare"]["words"] + facts["beyond"]["words"] == facts["distinct"]
        assert facts["rare"]["words"] == facts["rare"]["occurrences"]  # those that occur once


def test_seeds_are_tokens_though_the_texts_hold_few_of_them(counts: Path, tmp_path: Path) -> None:
    """Korean learns far fewer syllables here than the 2,350 that are given to it, and English has to have as many tokens."""
    words = texts(5, 1500, (KOREAN, ENGLISH, *OTHERS))
    manifest = trained(tmp_path / "seeded", [counted(tmp_path / "more", words)], vocab_size=5500, seed_syllables="ksx1001")
    vocab = json.loads((tmp_path / "seeded" / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    model = Tokenizer.from_file(str(tmp_path / "seeded" / "tokenizer.json"))
    assert manifest["audit"]["exact"] and manifest["lists"]["ko"]["seeds"] == 2525
    assert all(len(model.encode(syllable).ids) == 1 for syllable in ksx1001_syllables()) and len(vocab) == 5500


def refused(out: Path, counts: Sequence[Path], **config: Any) -> str:
    """The sentence that says why these counts can't be trained on."""
    with pytest.raises(UserError) as caught:
        trained(out, counts, **config)
    return str(caught.value)


def test_what_the_words_can_not_give_is_a_sentence(counts: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    korean, english = (counted(tmp_path / name, texts(3, 30, (alphabet, " .,"))) for name, alphabet in (("k", KOREAN), ("e", ENGLISH)))
    assert "no words in the script of 'en'" in refused(out, [korean])
    assert "no words in the script of 'ko'" in refused(out, [english])
    assert "no words in the script of 'ko'" in refused(out, [english], vocab_size=20_000, seed_syllables="ksx1001")
    assert "no words in the script of 'ru'" in refused(out, [english], split={"en": 0.5, "ru": 0.5})
    assert "--vocab-size of at most about" in refused(out, [counts], vocab_size=50_000)
    assert "use a --vocab-size of at most" in refused(out, [counts], vocab_size=90_000, plain=True)
    assert "ksx1001 takes 2,525 tokens" in refused(out, [counts], vocab_size=3000, seed_syllables="ksx1001")
    assert "can't read the chat template" in refused(out, [counts], chat_template=str(tmp_path / "none.jinja"))
    assert "there are no counts" in refused(out, [])
    assert not (out / "tokenizer.json").exists()


def test_bad_arguments_leave_a_finished_tokenizer_as_it_is(finished: Path, counts: Path, tmp_path: Path) -> None:
    before = (finished / "manifest.json").read_bytes()
    refused(finished, [tmp_path / "absent"])
    refused(finished, [counts], vocab_size=3000, seed_syllables="ksx1001")
    refused(finished, [counts], chat_template="none.jinja")
    assert (finished / "manifest.json").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--vocab-size", "300"], "no room for merges"),
        ([], "holds no counts"),
        (["--split", "ko=0.5,en=0.4"], "add up to 0.9"),
        (["--split", "ko=0.5,xx=0.5"], "'xx'"),
        (["--split", "ja=0.5,zh=0.5"], "Han"),
        (["--split", "half"], "can't be read at"),
        (["--plain", "--set", "morphemes=particles"], "plain tokenizers cut no morphemes"),
        (["--set", "seeds=none"], "seeds"),
    ],
)
def test_the_command_ends_with_2_and_one_sentence(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["onnuri", "tokenizer", "train", str(tmp_path), "-o", str(tmp_path / "out"), *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert said in told and "Traceback" not in told


def test_folders_that_are_no_counts(counts: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    other = counted(tmp_path / "other", DOCUMENTS[:50])
    manifest = json.loads((other / "manifest.json").read_text(encoding="utf-8"))
    assert "there is no folder" in refused(out, [tmp_path / "absent"])
    copy = counted(tmp_path / "copy", DOCUMENTS[:50])
    assert "hold the same counts" in refused(out, [other, copy])
    (other / "manifest.json").write_text(json.dumps(manifest | {"pattern": r"\w+"}), encoding="utf-8")
    assert "another pattern" in refused(out, [other])
    (other / "manifest.json").write_text(json.dumps(manifest | {"finished": False}), encoding="utf-8")
    assert "did not finish" in refused(out, [other])
    next((copy / "counts").iterdir()).write_bytes(b"")
    assert "is missing or not what was counted" in refused(out, [copy])


def test_every_key_is_described() -> None:
    assert all(field.description for field in TrainConfig.model_fields.values())


def test_the_card_can_name_every_language() -> None:
    assert card.LANGUAGES.keys() == SCRIPTS.keys()
