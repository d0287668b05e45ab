"""The whole move and the corpus it leaves: shares, conservation, equal bytes for any workers and order, clean re-runs."""

from __future__ import annotations

import gzip
import itertools
import json
import math
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import HealthCheck, given, settings

from pipeline.balance import move
from pipeline.balance.config import BalanceConfig
from pipeline.balance.export import PART_GLOB, export, packs
from pipeline.balance.parts import SCHEMA, ExportTask
from pipeline.engine import LocalEngine, run_task
from pipeline.errors import UserError
from pipeline.progress import Progress
from pipeline.segment import Segment
from pipeline.shards import file_facts
from pipeline.splits import Split
from tests.pipeline.balance.corpus import COLUMNS, documents, shard, shards
from tests.pipeline.balance.random_targets import counted_corpus, targets, worst_errors

CONFIG = BalanceConfig.model_validate(
    {
        "phases": {
            "general": {"tokens": 20_000, "languages": {"ko": 0.6, "en": 0.4}},
            "domain": {
                "tokens": 12_000,
                "languages": {"ko": 0.5, "en": 0.5},
                "domains": {"law": 0.4},
                "max_epochs": 4,
                "quality_top": {"ko": 0.7, "en": 0.7},
            },
        },
        "bytes_per_token": {"ko": 4.0, "en": 4.3},
    }
)


class HereEngine:
    """Runs tasks in this process, last first: as good as any other order, without the cost of spawning."""

    name, workers = "here", 1

    def map(self, tasks):
        for task in reversed(tasks):
            yield run_task(task)

    def close(self) -> None:
        pass


def segment(run: Path, name: str, engine=None) -> Segment:
    return Segment(run, name, engine or HereEngine(), Progress(quiet=True), 0.0)


def balance(run: Path, splits: list[Split], config: BalanceConfig = CONFIG, engine=None) -> dict:
    kept = move.run(segment(run, "balance", engine), splits, config, COLUMNS)
    return export(segment(run, "corpus", engine), kept, config)


def files_of(run: Path) -> dict[str, bytes]:
    """Every result file of a run, but for receipts and segment manifests, which tell times."""
    kept = [*run.rglob("*.parquet"), *run.rglob("*.yaml"), *run.rglob("corpus/manifest.json"), *run.rglob("steps/plan/plan.*")]
    return {str(path.relative_to(run)): path.read_bytes() for path in sorted(kept)}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """One finished run over 2,000 documents in three shards: (run folder, splits, manifest)."""
    run = tmp_path_factory.mktemp("balance")
    splits = shards(run / "input" / "kept", documents(2000), 3)
    return run, splits, balance(run, splits)


def test_budgets_and_shares_are_met_but_for_one_document_per_group(done):
    run, _, manifest = done
    largest = max(pq.read_table(path, columns=["tokens"])["tokens"].to_numpy().max() for path in (run / "corpus").glob(PART_GLOB))
    for name, phase in CONFIG.chosen_phases.items():
        facts = manifest["phases"][name]
        assert facts["tokens_with_epochs"] <= phase.tokens
        for language, share in phase.language_shares.items():
            got = facts["languages"][language]["tokens_with_epochs"]
            groups = len(facts["languages"][language]["domains"])
            assert share * phase.tokens - groups * largest <= got <= share * phase.tokens
    law = manifest["phases"]["domain"]["languages"]["ko"]["domains"]["law"]
    assert law["share_asked"] == 0.4 and abs(law["tokens_with_epochs"] - 0.4 * 6_000) <= largest


def test_plan_manifest_and_shards_say_the_same(done):
    run, _, manifest = done
    plan = json.loads((run / "balance" / "steps" / "plan" / "plan.json").read_text())
    for name, phase in plan["phases"].items():
        assert sum(band["tokens_got"] for band in phase["bands"]) == phase["tokens_got"]
        facts = manifest["phases"][name]
        assert phase["tokens_got"] == facts["tokens_with_epochs"]
        assert sum(group["documents"] for group in phase["groups"]) == facts["documents"]
        for language, counts in facts["languages"].items():
            table = pa.concat_tables(pq.read_table(run / "corpus" / part["path"], partitioning=None) for part in counts["parts"])
            assert len(table) == counts["documents"] and table.schema.equals(SCHEMA)
            assert sum(len(text) for text in table["text"].to_pylist()) == counts["bytes"]
            assert phase["languages"][language]["tokens_got"] == counts["tokens_with_epochs"]
            for part in counts["parts"]:
                facts_of_file = file_facts(run / "corpus" / part["path"])
                assert (facts_of_file["bytes"], facts_of_file["xxh3"]) == (part["size"], part["xxh3"])
        mix = yaml.safe_load((run / "corpus" / f"mix-{name}.yaml").read_text())
        assert mix["tokens"] == sum(part["tokens_with_epochs"] for part in mix["parts"]) == facts["tokens_with_epochs"]
        assert {part["path"] for part in mix["parts"]} == {
            str(path.relative_to(run / "corpus")) for path in (run / "corpus").glob(f"phase={name}/lang=*/part-*.parquet")
        }


def test_every_document_is_in_a_phase_or_dropped_with_a_reason(done):
    run, _, manifest = done
    kept = pa.concat_tables(pq.read_table(path) for path in sorted((run / "balance" / "kept").glob("*.parquet")))
    dropped = pa.concat_tables(pq.read_table(path) for path in sorted((run / "balance" / "dropped").glob("*.parquet")))
    assert len(kept) + len(dropped) == 2000
    reasons = set(dropped["drop_reason"].to_pylist())
    assert reasons == {"over_budget", "language_not_in_mix:ja", "language_not_in_mix:und"}
    in_general = sum(epochs > 0 for epochs in kept["epochs_general"].to_pylist())
    assert in_general == manifest["phases"]["general"]["documents"]


def test_other_readers_see_phase_and_language_once_and_no_column_twice(done):
    run, _, manifest = done
    expected = {
        (name, language): (counts["documents"], counts["tokens"])
        for name, phase in manifest["phases"].items()
        for language, counts in phase["languages"].items()
    }
    corpus = run / "corpus"
    source = f"read_parquet('{corpus}/{PART_GLOB}', hive_partitioning=true)"
    query = f"select phase, lang, count(*), sum(tokens)::bigint from {source} group by all"
    assert {(phase, lang): (rows, tokens) for phase, lang, rows, tokens in duckdb.sql(query).fetchall()} == expected
    lazy = pl.scan_parquet(f"{corpus}/{PART_GLOB}", hive_partitioning=True)
    frame = lazy.group_by("phase", "lang").agg(pl.len(), pl.sum("tokens")).collect()
    assert {(phase, lang): (rows, tokens) for phase, lang, rows, tokens in frame.rows()} == expected
    paths = [str(path) for path in sorted(corpus.glob(PART_GLOB))]
    dataset = ds.dataset(paths, partitioning="hive", partition_base_dir=str(corpus))
    table = dataset.to_table(columns=["phase", "lang", "document_lang", "tokens"])
    assert len(table) == sum(rows for rows, _ in expected.values())
    both = set(zip(table["lang"].to_pylist(), table["document_lang"].to_pylist(), strict=True))
    assert both == {("ko", "ko"), ("ko", "mixed"), ("en", "en")}


def test_a_larger_budget_holds_all_of_a_smaller_one(done, tmp_path):
    run, splits, _ = done
    general = CONFIG.phases.general.model_copy(update={"tokens": 10_000})
    smaller = CONFIG.model_copy(update={"phases": CONFIG.phases.model_copy(update={"general": general})})
    balance(tmp_path, splits, smaller)

    def chosen(folder: Path) -> set[str]:
        paths = folder.glob("corpus/phase=general/lang=*/part-*.parquet")
        return {i for path in paths for i in pq.read_table(path, columns=["id"])["id"].to_pylist()}

    assert chosen(tmp_path) and chosen(tmp_path) < chosen(run)


def test_workers_and_order_change_no_byte(done, tmp_path):
    run, splits, _ = done
    engine = LocalEngine(1)  # another process, the other order of tasks
    try:
        balance(tmp_path, splits[::-1], engine=engine)
    finally:
        engine.close()
    first, second = files_of(run), files_of(tmp_path)
    assert {name: content for name, content in first.items() if not name.startswith("input")} == second


def test_a_changed_config_leaves_no_stale_files(tmp_path):
    splits = shards(tmp_path / "input" / "kept", documents(400), 2)
    balance(tmp_path, splits, CONFIG.model_copy(update={"on_infeasible": "budget"}))
    general = CONFIG.phases.general.model_copy(update={"languages": {"ko": 1.0}, "tokens": 3000})
    only_korean = CONFIG.model_copy(update={"phases": CONFIG.phases.model_copy(update={"domain": None, "general": general})})
    manifest = balance(tmp_path, splits, only_korean)
    assert {str(path.relative_to(tmp_path / "corpus")) for path in (tmp_path / "corpus").rglob("*.parquet")} == {
        part["path"] for part in manifest["phases"]["general"]["languages"]["ko"]["parts"]
    }
    assert sorted(path.name for path in (tmp_path / "corpus").iterdir()) == ["manifest.json", "mix-general.yaml", "phase=general", "steps"]
    balance(tmp_path, splits, only_korean)
    fresh = tmp_path / "fresh"
    assert balance(fresh, splits, only_korean) == manifest
    assert files_of(tmp_path / "corpus") == files_of(fresh / "corpus")


def test_another_budget_redoes_no_counts(tmp_path):
    splits = shards(tmp_path / "input" / "kept", documents(200), 2)
    for tokens in (3000, 2000):
        config = BalanceConfig.model_validate({"phases": {"general": {"tokens": tokens, "languages": {"ko": 1.0}}}})
        move.run(segment(tmp_path, "balance"), splits, config, COLUMNS)
        counted = {path: path.stat().st_mtime_ns for path in (tmp_path / "balance" / "steps" / "count").glob("*.parquet")}
        if tokens == 3000:
            first = counted
    assert counted == first and len(first) == 2


def test_parts_stay_below_the_size_asked_for(tmp_path):
    import random

    chance = random.Random(0)
    rows = documents(900, languages=("ko",))
    for row in rows:
        row["text"] = chance.randbytes(2000).hex()
    split = shard(tmp_path, "large", rows)
    general = {"languages": {"ko": 1.0}}
    config = CONFIG.model_copy(update={"phases": CONFIG.phases.model_validate({"general": general})})
    kept = move.run(segment(tmp_path, "balance"), [split], config, COLUMNS)
    task = ExportTask(packs(kept, 1 << 20)[0], {"mixed": "ko"}, ("general",), 1 << 20)
    folder = tmp_path / "out"
    folder.mkdir()
    facts = task(folder)["files"]
    sizes = [(folder / path).stat().st_size for path in facts]
    assert len(facts) >= 2 and max(sizes) <= 1 << 20 and min(sizes[:-1]) > 600_000
    ids = [i for path in facts for i in pq.read_table(folder / path, partitioning=None)["id"].to_pylist()]
    assert ids == [row["id"] for row in rows] and list(facts) == sorted(facts)


def test_packs_hold_consecutive_shards_up_to_the_size(tmp_path):
    splits = [shard(tmp_path, f"s{index}", documents(20 + index)) for index in range(7)]
    size = splits[0].size * 5 // 2
    made = packs(splits[::-1], size)
    assert [part.name for pack in made for part in pack.parts] == [f"kept/s{index}.parquet" for index in range(7)]
    assert all(pack.size <= size or len(pack.parts) == 1 for pack in made) and 1 < len(made) < 7
    assert [pack.name for pack in made] == [f"part-{index:05d}" for index in range(len(made))]


def test_plan_only_writes_nothing_and_agrees_with_the_run(done, tmp_path):
    run, splits, _ = done
    plan = move.plan_only(splits, CONFIG, COLUMNS, HereEngine(), Progress(quiet=True), scratch=tmp_path)
    assert plan == json.loads((run / "balance" / "steps" / "plan" / "plan.json").read_text()) and not list(tmp_path.iterdir())
    text = move.render_plan(plan)
    general, domain = text.split("phase domain: ")
    assert general.startswith("phase general: ") and "law" in general
    assert "20.00%" in domain.split("law")[1] and "20.00%" not in general  # 40 % of each half


def test_infeasible_budgets_stop_with_a_sentence_and_the_sentence_is_right(done, tmp_path):
    _, splits, _ = done
    general = CONFIG.phases.general.model_copy(update={"tokens": 10**9})
    config = CONFIG.model_copy(update={"phases": CONFIG.phases.model_copy(update={"general": general})})
    with pytest.raises(UserError, match=r"set balance.phases.general.tokens=\d+") as caught:
        move.plan_only(splits, config, COLUMNS, HereEngine(), scratch=tmp_path)
    named = int(str(caught.value).split("tokens=")[1].split(",")[0])
    general = general.model_copy(update={"tokens": named})
    config = CONFIG.model_copy(update={"phases": CONFIG.phases.model_copy(update={"general": general})})
    got = move.plan_only(splits, config, COLUMNS, HereEngine(), scratch=tmp_path)["phases"]["general"]["tokens_got"]
    assert 0.98 * named <= got <= named


@pytest.mark.parametrize(
    ("settings", "absent", "words"),
    [
        ({}, "lang", "no column lang"),
        ({"phases": {"general": {"domains": {"law": 0.5}}}}, "domain", "names the domain 'law'"),
        ({"phases": {"general": {"domain_limits": {"law": [0, 0.5]}}}}, "domain", "names the domain 'law'"),
        ({"phases": {"general": {"quality_top": {"ko": 0.5}}}}, "quality", "no column quality"),
        ({"phases": {"general": {"quality_tilt": 3}}}, "quality", "quality_tilt but the documents have no column quality"),
        ({"phases": {"general": {"rehydrate": True}}}, "rehydration_weight", "no column rehydration_weight"),
        ({"phases": {"general": {"importance": {"inputs": ["nowhere/*.jsonl"]}}}}, "url", "nowhere"),
    ],
)
def test_a_mix_that_needs_an_absent_column_is_refused(settings, absent, words):
    with pytest.raises(UserError, match=words):
        move.check(BalanceConfig.model_validate(settings), COLUMNS - {absent})


@pytest.mark.parametrize("columns", [frozenset({"id", "text", "text_bytes"}), frozenset({"id", "text"})])
def test_documents_without_language_and_domain_can_be_sampled(tmp_path, columns):
    split = shard(tmp_path, "plain", documents(200), columns)
    general = {"languages": {"und": 1.0}, "tokens": 3000}
    config = BalanceConfig.model_validate({"phases": {"general": general}, "bytes_per_token": {"und": 4.0}})
    kept = move.run(segment(tmp_path, "balance"), [split], config, columns)
    manifest = export(segment(tmp_path, "corpus"), kept, config)
    assert 2000 < manifest["phases"]["general"]["languages"]["und"]["tokens"] <= 3000


def test_a_column_of_free_text_is_not_taken_for_labels(tmp_path):
    rows = [{**row, "domain": f"label {number}"} for number, row in enumerate(documents(2300, languages=("ko", "en")))]
    with pytest.raises(UserError, match="more than 2,000 different labels"):
        move.plan_only([shard(tmp_path, "labels", rows)], BalanceConfig(), COLUMNS, HereEngine(), scratch=tmp_path)


def test_no_documents_at_all_is_an_error_not_an_empty_corpus(tmp_path):
    with pytest.raises(UserError, match="there is no en document"):
        move.run(segment(tmp_path, "balance"), [shard(tmp_path, "empty", [])], CONFIG, COLUMNS)


def test_real_korean_and_english_documents_meet_half_and_half(shared_data, tmp_path):
    rows = []
    for language, name in (("ko", "ko/petitions"), ("en", "en/digitalgov")):
        with gzip.open(shared_data / f"text/{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            for number, line in enumerate(itertools.islice(lines, 600)):
                rows.append({"id": f"{name}-{number}", "text": json.loads(line)["text"], "lang": language})
    columns = frozenset({"id", "text", "lang"})
    config = BalanceConfig.model_validate({"phases": {"general": {"tokens": 150_000}}})
    kept = move.run(segment(tmp_path, "balance"), [shard(tmp_path, "real", rows, columns)], config, columns)
    manifest = export(segment(tmp_path, "corpus"), kept, config)
    for language, counts in manifest["phases"]["general"]["languages"].items():
        table = pa.concat_tables(pq.read_table(tmp_path / "corpus" / part["path"], partitioning=None) for part in counts["parts"])
        texts = table["text"].to_pylist()
        tokens = [math.ceil(len(text.encode()) / config.bytes_per_token[language]) for text in texts]
        assert table["tokens"].to_pylist() == tokens and sum(tokens) == counts["tokens"] <= 75_000
        assert counts["share_got"] == pytest.approx(0.5, abs=0.02)


WITH_EVERYTHING = BalanceConfig.model_validate(
    {
        "phases": {
            "general": {"tokens": 30_000, "languages": {"ko": 0.6, "en": 0.4}, "quality_tilt": 20, "rehydrate": True},
            "domain": {
                "tokens": 12_000,
                "languages": {"ko": 0.5, "en": 0.5},
                "domains": {"law": 0.4},
                "max_epochs": 3,
                "quality_top": {"ko": 0.5},
                "replay": 0.25,
            },
        },
        "bytes_per_token": {"ko": 4.0, "en": 4.3},
        "long_document_tokens": 100,
    }
)


def test_replay_rehydration_and_long_documents_are_the_same_in_plan_corpus_and_mix(tmp_path):
    splits = shards(tmp_path / "input" / "kept", documents(2000, seed=1), 3)
    manifest = balance(tmp_path, splits, WITH_EVERYTHING)
    plan = json.loads((tmp_path / "balance" / "steps" / "plan" / "plan.json").read_text())
    kept = pa.concat_tables(pq.read_table(path) for path in sorted((tmp_path / "balance" / "kept").glob("*.parquet")))
    rows = kept.select(["tokens", "epochs_general", "epochs_domain", "replay_epochs", "long_document", "rehydration_weight"]).to_pylist()
    general, domain = (manifest["phases"][name] for name in ("general", "domain"))
    for name, facts in (("general", general), ("domain", domain)):
        assert (
            sum(row["tokens"] * row[f"epochs_{name}"] for row in rows) == facts["tokens_with_epochs"] == plan["phases"][name]["tokens_got"]
        )
        long = [row for row in rows if row["long_document"] and row[f"epochs_{name}"]]
        expected = len(long), sum(row["tokens"] * row[f"epochs_{name}"] for row in long)
        assert expected == (facts["long_documents"], facts["long_tokens"])
        own = [
            row[f"epochs_{name}"] - (row["replay_epochs"] if name == "domain" else 0) for row in long
        ]  # the plan's tables leave replay out
        told = plan["phases"][name]["long"]
        assert told["documents"] == sum(epochs > 0 for epochs in own)
        assert told["tokens_got"] == sum(row["tokens"] * epochs for row, epochs in zip(long, own, strict=True))
        replayed = plan["phases"][name]["replay"]
        repeated = replayed["tokens_got"] if replayed else 0
        assert sum(band["tokens_got"] for band in plan["phases"][name]["bands"]) == plan["phases"][name]["tokens_got"] - repeated
    assert all(row["long_document"] == (row["tokens"] >= 100) for row in rows)
    assert all(row["epochs_general"] in (0, row["rehydration_weight"] or 1) for row in rows)  # once, as often as it counts
    replay = sum(row["tokens"] * row["replay_epochs"] for row in rows)
    assert replay == domain["replay_tokens"] == plan["phases"]["domain"]["replay"]["tokens_got"] and general["replay_tokens"] == 0
    assert 0.2 < replay / domain["tokens_with_epochs"] <= 0.26
    assert all(row["replay_epochs"] <= min(row["epochs_domain"], row["epochs_general"]) for row in rows)
    mix = yaml.safe_load((tmp_path / "corpus" / "mix-domain.yaml").read_text())
    assert (mix["replay_tokens"], mix["long_tokens"]) == (replay, domain["long_tokens"])
    text = move.render_plan(plan)
    assert "replay: " in text and "long documents: " in text and "90-100 %" in text and "█" in text


def test_tilt_prefers_the_best_and_keeps_the_shares(tmp_path):
    rows = [row for row in documents(3000, seed=2, languages=("ko",)) if row["quality"] is not None]
    means = {}
    for tilt in (1, 100):
        general = {"tokens": 8_000, "languages": {"ko": 1.0}, "domains": {"law": 0.3}, "quality_tilt": tilt}
        config = BalanceConfig.model_validate({"phases": {"general": general}})
        plan = move.plan_only([shard(tmp_path, f"s{tilt}", rows)], config, COLUMNS, HereEngine(), scratch=tmp_path)["phases"]["general"]
        best = sum(band["tokens_got"] for band in plan["bands"] if band["band"] == "90-100 %")
        means[tilt] = best / plan["tokens_got"]
        law = next(group for group in plan["groups"] if group["domain"] == "law")
        assert law["share_got"] == pytest.approx(0.3, abs=0.03)
    assert means[1] < 0.2 < 0.3 < means[100]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(target=targets())
def test_random_feasible_targets_are_met_within_a_document(corpus_of_targets, target):
    assert worst_errors(corpus_of_targets, target) == []


@pytest.fixture(scope="module")
def corpus_of_targets():
    return counted_corpus(3000, seed=11)


def test_documents_like_the_target_come_first_and_shares_stay(tmp_path):
    words = {"law": "statute court clause judge appeal", "food": "noodle pepper broth kettle onion"}
    rows = []
    for number, row in enumerate(documents(1200, seed=3, languages=("ko", "en"))):
        about = ("law", "food")[number % 2]
        text = " ".join([*words[about].split(), f"n{number}"] * 4)
        rows.append({**row, "text": text, "text_bytes": len(text), "domain": ("news", "wiki")[number % 4 // 2], "source": about})
    target = tmp_path / "target.jsonl"
    target.write_text(
        "".join(
            json.dumps({"text": f"{words['food']} " * 60 + str(number), "lang": ("ko", "en")[number % 2]}) + "\n" for number in range(200)
        )
    )
    phase = {"tokens": 9_000, "languages": {"ko": 0.5, "en": 0.5}, "domains": {"news": 0.3}}
    picked = {}
    for strength in (None, 5.0):
        importance = {"inputs": [str(target)], "strength": strength} if strength else None
        config = BalanceConfig.model_validate({"phases": {"general": {**phase, "importance": importance}}})
        run = tmp_path / f"run-{strength}"
        manifest = balance(run, shards(run / "input" / "kept", rows, 3), config)
        kept = pa.concat_tables(pq.read_table(path, columns=["source"]) for path in sorted((run / "balance" / "kept").glob("*.parquet")))
        picked[strength] = kept["source"].to_pylist().count("food") / len(kept)
        for counts in manifest["phases"]["general"]["languages"].values():
            assert counts["share_got"] == pytest.approx(0.5, abs=0.02)
            assert counts["domains"]["news"]["share_got"] == pytest.approx(0.3, abs=0.03)
    assert 0.4 < picked[None] < 0.6 and picked[5.0] > 0.95
    # another target is another ratio, and nothing else of the count is done again
    target.write_text(
        "".join(
            json.dumps({"text": f"{words['law']} " * 60 + str(number), "lang": ("ko", "en")[number % 2]}) + "\n" for number in range(200)
        )
    )
    manifest = balance(run, shards(run / "input" / "kept", rows, 3), config)
    kept = pa.concat_tables(pq.read_table(path, columns=["source"]) for path in sorted((run / "balance" / "kept").glob("*.parquet")))
    assert kept["source"].to_pylist().count("law") > 0.9 * len(kept)


def test_a_target_without_text_is_refused(tmp_path):
    target = tmp_path / "target.jsonl"
    target.write_text('{"text": ""}\n')
    config = BalanceConfig.model_validate({"phases": {"general": {"languages": {"ko": 1.0}, "importance": {"inputs": [str(target)]}}}})
    split = shard(tmp_path, "toy", documents(50, languages=("ko",)))
    with pytest.raises(UserError, match="no document of the target"):
        move.plan_only([split], config, COLUMNS, HereEngine(), scratch=tmp_path)


def test_targets_must_say_their_language_where_the_mix_has_several(tmp_path):
    target = tmp_path / "target.jsonl"
    target.write_text('{"text": "some words"}\n')
    split = shard(tmp_path, "toy", documents(300))

    def plan(**importance):
        phase = {"tokens": 900, "importance": {"inputs": [str(target)], **importance}}
        return move.plan_only(
            [split], BalanceConfig.model_validate({"phases": {"general": phase}}), COLUMNS, HereEngine(), scratch=tmp_path
        )

    with pytest.raises(UserError, match="has no field lang and the mix has en and ko"):
        plan()
    with pytest.raises(UserError, match=r"importance.language is 'ja'; use one of en, ko"):
        plan(language="ja")
    assert plan(language="ko", strength=1000)["phases"]["general"]["tokens_got"] > 500  # the largest strength still parts documents
    target.write_text('{"text": "some words", "lang": "ja"}\n')
    with pytest.raises(UserError, match="no target of phase general is in a language of the mix"):
        plan()


def test_replay_brings_languages_that_the_phase_itself_lacks(tmp_path):
    phases = {"general": {"tokens": 20_000}, "domain": {"tokens": 6_000, "languages": {"ko": 1.0}, "replay": 0.5}}
    manifest = balance(tmp_path, shards(tmp_path / "input" / "kept", documents(2000), 3), BalanceConfig.model_validate({"phases": phases}))
    domain = manifest["phases"]["domain"]
    assert set(domain["languages"]) == {"en", "ko"} and domain["languages"]["en"]["share_asked"] == 0.0
    parts = [part for facts in domain["languages"].values() for part in facts["parts"]]
    assert sum(part["tokens_with_epochs"] for part in parts) == domain["tokens_with_epochs"]
    mix = yaml.safe_load((tmp_path / "corpus" / "mix-domain.yaml").read_text())
    assert sum(part["tokens_with_epochs"] for part in mix["parts"]) == mix["tokens"]


def test_the_plan_does_not_depend_on_how_documents_are_dealt(tmp_path):
    rows = documents(1500, seed=6)
    plans = [
        move.plan_only(shards(tmp_path / str(count), rows, count), WITH_EVERYTHING, COLUMNS, HereEngine(), scratch=tmp_path)
        for count in (1, 60)
    ]
    assert plans[0] == plans[1]
