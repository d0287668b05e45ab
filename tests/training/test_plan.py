"""Plans: from YAML to a resolved plan, what is refused and how, what the fingerprint covers."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.__main__ import main
from pipeline.errors import UserError
from tests.training.plan_scene import PLAN, TOKENIZER, VOCABULARY, PlanScene, documents
from tests.training.shard_scene import make_shards
from training.ledger import Ledger, place_streams
from training.llama_format import CONFIG
from training.loader import open_stage, open_validation
from training.model_config import PRESETS, RopeScaling
from training.plan_config import load_plan_config
from training.plan_json import as_json, difference, fingerprint, from_json
from training.resolve import resolve
from training.schedule import learning_rate
from training.sources import open_source
from training.streams import WEIGHTS


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return PlanScene(tmp_path_factory.mktemp("plan"))


@pytest.fixture(scope="module")
def plan(scene):
    return scene.plan()


def changed(*changes: tuple[str, Any]) -> dict[str, Any]:
    """The plan's YAML with values set or, where None, keys taken out, by path."""
    values = copy.deepcopy(PLAN)
    for path, value in changes:
        *folders, last = (int(key) if key.isdigit() else key for key in path.split("."))
        target: Any = values
        for key in folders:
            target = target[key]
        if value is None:
            del target[last]
        else:
            target[last] = value
    return values


def test_a_plan_is_resolved_in_whole_batches(plan):
    general, context = plan.stages
    assert (general.length, general.batch_samples, general.steps, general.samples) == (32, 8, 23, 184)  # of 187 sequences
    assert (context.length, context.batch_samples, context.steps) == (128, 4, 7)
    assert [stream.weight for stream in general.streams] == [600_000_000, 400_000_000]
    assert sum(stream.weight for stream in context.streams) == WEIGHTS
    assert [stream.name for stream in context.streams] == ["long", "general/ko", "general/en"]
    assert [stream.rows for stream in context.streams] == [1, 4, 4]
    assert plan.model.parameters and plan.model.vocab_size == VOCABULARY
    assert general.model.rope_scaling is None and context.model.rope_scaling == RopeScaling(8, 1, 4, 32)
    assert context.schedule.peak == learning_rate(general.schedule, general.tokens, general.tokens) == 0.001


def test_streams_are_where_the_planned_ledger_puts_them(scene, plan):
    sources = [open_source(spec, plan.tokenizer_sha256, scene.folder / "cache", plan.seed) for spec in plan.sources]
    ledger = Ledger.empty()
    for stage in plan.stages:
        assert place_streams(stage, ledger, sources) == stage.streams
        ledger = ledger.after(stage.name, stage.streams)


def test_the_loader_reads_what_was_planned(scene, plan):
    cache, ledger = scene.folder / "cache", Ledger.empty()
    for number, stage in enumerate(plan.stages):
        data = open_stage(plan, number, ledger, cache)
        assert data.samples == stage.samples and data.used(stage.samples) == tuple(
            stream.count if stream.kind == "fresh" else used for stream, used in zip(stage.streams, data.used(stage.samples), strict=True)
        )
        ledger = ledger.after(stage.name, data.streams, data.used(stage.samples))
    assert [data.length for data in open_validation(plan, 0, cache)] == [32, 32, 128]


def test_validation_is_kept_out_of_every_stage(plan):
    held_out = [plan.sources[index] for index in plan.validation.sources]
    assert [spec.name for spec in held_out] == ["general/ko", "general/en", "context/long"]
    assert all(spec.held_out and spec.holdout == 0.1 and spec.epochs == 1 for spec in held_out)
    assert all(spec.holdout == 0.1 for spec in plan.sources)
    own = {stream.source for stage in plan.stages for stream in stage.streams}
    assert own.isdisjoint(plan.validation.sources)


def test_no_tokens_means_as_many_as_the_sources_give(scene):
    """One more batch would be more than the scarcer source has."""
    found = scene.plan(values=changed(("stages.0.tokens", None)))
    stage, sources = found.stages[0], [open_source(spec, found.tokenizer_sha256, scene.folder / "cache", 3) for spec in found.sources]
    room = [sources[stream.source].total - stream.count for stream in stage.streams]
    assert min(room) >= 0
    more = replace(stage, samples=stage.samples + stage.batch_samples)
    with pytest.raises(UserError, match="lower the stage's tokens to"):
        place_streams(more, Ledger.empty(), sources)


def test_a_source_of_two_stages_goes_on_where_it_was_left(scene):
    values = changed(("stages.1", None))
    values["stages"].append(copy.deepcopy(values["stages"][0]) | {"name": "more"})
    first, second = scene.plan(values=values).stages
    assert [stream.source for stream in first.streams] == [stream.source for stream in second.streams]
    assert [stream.start for stream in second.streams] == [stream.count for stream in first.streams]


def test_a_source_is_the_same_however_its_folder_and_values_are_written(scene, tmp_path):
    (tmp_path / "link").symlink_to(scene.shards)
    first = PLAN["stages"][0] | {"tokens": 2000}
    again = copy.deepcopy(first) | {"name": "more"}
    again["sources"][0] |= {"shards": str(tmp_path / "link"), "where": {"lang": ["ko", "ko"], "phase": "general"}}
    plan = scene.plan(values=PLAN | {"stages": [first, again]})
    assert [stream.source for stream in plan.stages[1].streams] == [0, 1]


def test_presets_take_the_tokenizers_vocabulary(scene):
    preset = ("model", {"preset": "2.4b", "max_position_embeddings": 32_768})
    assert scene.plan(values=changed(preset)).model == replace(PRESETS["2.4b"], vocab_size=VOCABULARY, rope_scaling=None)
    assert scene.plan("model.vocab_size=102400", values=changed(preset)).model.parameters == 2_405_327_360


def test_rescaling_lasts_until_another_stage_changes_it(scene):
    values = changed()
    values["stages"] += [copy.deepcopy(values["stages"][1]) | {"name": name, "tokens": 600} for name in ("on", "off")]
    del values["stages"][2]["rope_scaling"]
    values["stages"][3]["rope_scaling"] = None
    scalings = [stage.model.rope_scaling for stage in scene.plan(values=values).stages]
    assert scalings[0] is None and scalings[1] == scalings[2] != scalings[3] and scalings[3] is None


def test_run_of_a_stage(scene):
    config = scene.config("stages.1.run.micro_batch=1", "run.micro_batch=4", "run.zero_stage=2")
    assert [config.run_of(place).micro_batch for place in (0, 1)] == [4, 1]
    assert [config.run_of(place).zero_stage for place in (0, 1)] == [2, 2]


@pytest.mark.parametrize(("text", "tokens"), [("6e3", 6000), ("6.0e+3", 6000), ("6_000", 6000), ("6000.0", 6000)])
def test_tokens_as_people_write_them(scene, text, tokens):
    assert scene.config(f"stages.0.tokens={text}").stages[0].tokens == tokens


MIX = {"phase": "general", "parts": [{"path": "a", "lang": "ko", "rows": 200}, {"path": "b", "lang": "en", "rows": 100}]}


def mixed(scene: PlanScene, mix: dict[str, Any], *changes: tuple[str, Any]) -> dict[str, Any]:
    path = scene.folder / "mix-general.yaml"
    path.write_text(yaml.safe_dump(mix), encoding="utf-8")
    return changed(("stages.0.sources", None), ("stages.0.mix", str(path)), ("stages.0.tokens", None), *changes)


def test_a_mix_is_a_source_for_each_language_by_its_tokens(scene):
    found = scene.plan(values=mixed(scene, MIX))
    sources = [open_source(spec, found.tokenizer_sha256, scene.folder / "cache", 3) for spec in found.sources[:2]]
    streams = found.stages[0].streams
    assert [stream.name for stream in streams] == ["en", "ko"] and sum(stream.weight for stream in streams) == WEIGHTS
    total = sum(source.tokens for source in sources)
    for stream, source in zip(streams, sources, strict=True):
        assert abs(stream.weight - WEIGHTS * source.tokens / total) <= 1


def test_replay_by_balance_reads_the_documents_again(scene):
    where = ("stages.0.sources", [{"name": "domain", "where": {"phase": "domain"}, "weight": 1.0}])
    totals = []
    for replay in (None, "balance"):
        changes = [where, ("stages.0.tokens", None), ("stages.1", None)]
        found = scene.plan(values=changed(*changes, *([("stages.0.replay", replay)] if replay else [])))
        totals.append(open_source(found.sources[0], found.tokenizer_sha256, scene.folder / "cache", 3).tokens)
    assert totals[0] < totals[1]


REFUSED = [
    (("stages.0.sources.0.weight", 0.7), "weights of stage 'general' add up to 1.1"),
    (("stages.1.replay.fraction", 0.2), "weights of stage 'context' add up to 0.95, its sources and the replay's fraction of 0.2"),
    (("stages.1.replay.fraction", 1.5), r"stages.1.replay.fraction: Input should be less than 1 \(got '1.5'\)"),
    (("stages.1.replay.stage", "pretraining"), "replays 'pretraining', and the stages before it are 'general'"),
    (("stages.1.replay", "all"), r"stages.1.replay: Input should be 'balance' \(got 'all'\)"),
    (("stages.0.replay", "balance"), "source 'ko' counts epochs itself"),
    (("stages.0.tokens", 60_000), "stage 'general' needs 35,936 tokens of 'ko', and its source 'ko' has [0-9,]+ left of 2 epochs"),
    (("stages.0.tokens", 200), "batch of 256 tokens, and its tokens are 200"),
    (("stages.0.batch_tokens", 250), "not a multiple of its sequence_length of 32; the nearest one is 256"),
    (("stages.1.sequence_length", 512), "sequence_length of 512, and the model has 256 positions"),
    (("stages.1", PLAN["stages"][1] | {"sequence_length": 80, "batch_tokens": 160}), "make its sequence_length a multiple"),
    (("stages.0.schedule.warmup_tokens", 6000), "5,888 tokens, and its schedule 6,000 of warm-up"),
    (("stages.0.schedule.peak_lr", "inherit"), "no stage before it"),
    (("stages.0.schedule.peak_lr", float("inf")), "peak_lr: Input should be a finite number"),
    (("stages.0.schedule.peak_lr", "high"), "stages.0.schedule.peak_lr: "),
    (("stages.0.schedule.decay_share", 2), "stages.0.schedule.decay_share: Input should be less than or equal to 1"),
    (("stages.1.schedule.decay_share", 0.5), "a cosine schedule has no decay of its own length"),
    (("stages.1.name", "general"), "two stages are called 'general'"),
    (("stages.0.sources.1.where.lang", "de"), "asks for lang 'de'"),
    (("stages.0.sources.1.where", {"language": "ko"}), "selects by 'language'"),
    (("stages.0.sources.1.where.lang", "ko"), "'ko' and 'en' of stage 'general' are the same documents"),
    (("stages.1.sources.0.min_tokens", 10**6), "source 'long' has no document"),
    (("stages.0.sources", None), "needs its data from either sources or mix"),
    (("stages.0.schedule.peak_lr", None), "the key 'stages.0.schedule.peak_lr' is missing; see docs/training_keys.md"),
    (("model.layers", None), "model: layers is missing; give a preset"),
    (("model.preset", "2.4b"), "preset 2.4b and hidden_size both say"),
    (("model.heads", 3), None),
    (("model.kv_heads", 3), "2 query heads can't share 3"),
    (("model.head_dim", 7), "make it even"),
    (("model.vocab_size", 100), "has ids up to 255"),
    (("stages.0.shedule", {}), "stages.0: unknown key 'shedule'; did you mean 'schedule'"),
    (("stages.1.replay.policie", "seen"), "stages.1.replay: unknown key 'policie'; did you mean 'policy'"),
    (("run", {"compile": True, "zero_stage": 3}), "run: compile works with zero_stage 1 or 2"),
    (
        ("run", {"activation_checkpointing": "selective", "zero_stage": 3}),
        "'general' has selective activation_checkpointing",
    ),
    (("stages.0", {**PLAN["stages"][0], "sources": [], "mix": "none.yaml"}), "there is no mix '.*none.yaml'"),
    (("optimizer", {"betas": [0.9, 1.0]}), "each must be at least 0 and below 1"),
    (("stages.0.batch_tokens", 10.5), "stages.0.batch_tokens: "),
    (("validation.share", 1e-6), "none falls into the share of 1e-06 that is held out for validation; raise validation.share"),
    (("validation.share", 0.9), "validation.share: Input should be less than 0.5"),
    (("initial", "no_such_folder"), "no_such_folder"),
]


@pytest.mark.parametrize(("change", "sentence"), REFUSED, ids=[change[0] + "=" + str(change[1])[:20] for change, _ in REFUSED])
def test_refused(scene, change, sentence):
    if sentence is None:  # allowed: one head of keys serves any number of query heads
        assert scene.plan(values=changed(change)).model.heads == change[1]
        return
    with pytest.raises(UserError, match=sentence) as refused:
        scene.plan(values=changed(change))
    assert str(refused.value).count("\n") == 0


def test_the_budget_that_is_named_works(scene):
    with pytest.raises(UserError) as refused:
        scene.plan("stages.0.tokens=60000", values=changed(("stages.1", None)))
    most = int(str(refused.value).split("tokens to ")[1].split(", ")[0].replace(",", ""))
    values = changed(("stages.1", None), ("stages.0.tokens", most))
    assert scene.plan(values=values).stages[0].tokens == most
    with pytest.raises(UserError, match="lower the stage's tokens"):
        scene.plan(f"stages.0.tokens={most + 256}", values=values)


@pytest.mark.parametrize(
    ("mix", "sentence"),
    [
        (MIX | {"phase": "context"}, "reads the mix of phase 'context', and the shards in '.*' have domain, general"),
        ({**MIX, "parts": [{"lang": "ko", "rows": 200}, {"lang": "en", "rows": 101}]}, "counts 101 documents of phase 'general' in 'en'"),
        ({**MIX, "parts": [{"lang": "ko", "rows": 200}]}, "counts 0 documents of phase 'general' in 'en'"),
        ({**MIX, "parts": []}, "has no documents"),
        ({"stages": []}, "is not a mix of balance"),
    ],
)
def test_a_mix_that_the_shards_do_not_hold(scene, mix, sentence):
    with pytest.raises(UserError, match=sentence):
        scene.plan(values=mixed(scene, mix))


def test_shards_that_cannot_be_read(tmp_path):
    scene = PlanScene(tmp_path)
    shard = next(scene.shards.rglob("*.bin"))
    content = shard.read_bytes()
    shard.write_bytes(content[:-4])
    with pytest.raises(UserError, match=f"has {len(content) - 4:,} bytes and should have {len(content):,}"):
        scene.plan()
    shard.unlink()
    with pytest.raises(UserError, match="is missing"):
        scene.plan()
    shard.write_bytes(content)
    (scene.tokenizer / "tokenizer.json").write_text(TOKENIZER + " ", encoding="utf-8")
    with pytest.raises(UserError, match="encoded with another tokenizer"):
        scene.plan()
    with pytest.raises(UserError, match="no folder of token shards"):
        values = yaml.safe_load(scene.path.read_text(encoding="utf-8"))
        del values["shards"]
        scene.path.write_text(yaml.safe_dump(values), encoding="utf-8")
        (scene.tokenizer / "tokenizer.json").write_text(TOKENIZER, encoding="utf-8")
        resolve(load_plan_config(scene.path, []), tmp_path / "cache")


def test_an_initial_model_of_another_shape_or_tokenizer(scene, tmp_path):
    shape = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8}
    shape |= {"intermediate_size": 32, "vocab_size": VOCABULARY, "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 1e6}
    given = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "tie_word_embeddings": True, **shape}
    (tmp_path / CONFIG).write_text(json.dumps(given), encoding="utf-8")
    with pytest.raises(UserError, match="has layers 3, and the plan's has 2"):
        scene.plan(f"initial={tmp_path}")
    (tmp_path / CONFIG).write_text(json.dumps(given | {"num_hidden_layers": 2}), encoding="utf-8")
    assert scene.plan(f"initial={tmp_path}").initial == str(tmp_path)
    content = json.loads((scene.tokenizer / "tokenizer.json").read_text(encoding="utf-8"))
    (tmp_path / "tokenizer.json").write_text(json.dumps(content, indent=4), encoding="utf-8")  # the same, written by another tool
    assert scene.plan(f"initial={tmp_path}").initial == str(tmp_path)
    content["model"]["vocab"] |= {"t1": 2, "t2": 1}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UserError, match="has another tokenizer than the plan"):
        scene.plan(f"initial={tmp_path}")


def test_plan_json_round_trip(plan):
    data = json.loads(json.dumps(as_json(plan)))
    assert from_json(data) == plan
    assert fingerprint(plan) == plan.fingerprint == fingerprint(from_json(data))
    assert difference(data, as_json(plan)) == []


COURSE = [
    ("seed=4", "seed: 3 -> 4"),
    ("model.intermediate_size=40", "model.intermediate_size: 32 -> 40"),
    ("optimizer.z_loss=0.0001", "optimizer.z_loss: 0.0 -> 0.0001"),
    ("stages.0.schedule.peak_lr=0.002", "stages[0].schedule.peak: 0.001 -> 0.002"),
    ("stages.0.tokens=5000", "stages[0].samples: 184 -> 152"),
    ("stages.0.batch_tokens=512", "stages[0].batch_samples: 8 -> 16"),
    ("stages.1.rope_scaling.factor=4", "stages[1].model.rope_scaling.factor: 8.0 -> 4.0"),
    ("stages.1.replay.policy=unseen", "stages[1].replay.policy: seen -> unseen"),
    ("stages.1.optimizer=fresh", "stages[1].keep_optimizer: true -> false"),
    ("stages.1.sources.0.max_epochs=2", "sources[2].epochs: 1 -> 2"),
    ("validation.share=0.2", "validation.share: 0.1 -> 0.2"),
    ("validation=null", 'validation: {"share": 0.1} -> null'),
]


@pytest.mark.parametrize(("override", "sentence"), COURSE)
def test_what_decides_the_course_is_in_the_fingerprint(scene, plan, override, sentence):
    other = scene.plan(override)
    assert other.fingerprint != plan.fingerprint
    assert sentence in difference(as_json(plan), as_json(other))


@pytest.mark.parametrize(
    "override",
    [
        "name=other",
        "run.micro_batch=4",
        "run.zero_stage=3",
        "run.precision=fp32",
        "run.sequence_parallel=2",
        "stages.1.run.activation_checkpointing=full",
        "guard.on_spike=stop",
        "validation.tokens=50",
        "validation.every_steps=7",
        "stages.0.tokens=5900",
    ],
)
def test_what_does_not_decide_the_course_is_not(scene, plan, override):
    other = scene.plan(override)
    assert other.fingerprint == plan.fingerprint and difference(as_json(plan), as_json(other)) == []


def test_places_do_not_count_and_contents_do(scene, plan, tmp_path):
    (tmp_path / "moved").mkdir()
    moved = PlanScene(tmp_path / "moved")
    assert moved.plan().fingerprint == plan.fingerprint
    make_shards(moved.shards, documents(seed=1), VOCABULARY, tokenizer=TOKENIZER, documents_per_shard=40)
    other = moved.plan("stages.0.tokens=3000", "stages.1.tokens=1000")
    small = scene.plan("stages.0.tokens=3000", "stages.1.tokens=1000")
    assert other.fingerprint != small.fingerprint
    told = difference(as_json(small), as_json(other))
    assert told == [f"sources[{place}]: '{spec.name}' has other documents" for place, spec in enumerate(small.sources)]


def test_a_difference_is_told_once(scene, plan):
    assert difference(as_json(plan), as_json(scene.plan("seed=4"))) == ["seed: 3 -> 4"]


def test_replay_of_what_is_left_when_nothing_is(scene):
    values = changed(("stages.0.tokens", None), ("stages.1.replay.policy", "unseen"))
    with pytest.raises(UserError, match=r"stage 'context' needs .* of 'general/.*, or unseen_first"):
        scene.plan(values=values)
    assert scene.plan("stages.1.replay.policy=unseen_first", values=values).stages[1].steps


def test_a_stage_more_is_a_difference(scene, plan):
    fewer = scene.plan(values=changed(("stages.1", None)))
    assert "stages: 1 -> 2 of them" in difference(as_json(fewer), as_json(plan))


def run(capsys: Any, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["train", "plan", *arguments])
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out, printed.err


def test_the_command(scene, plan, capsys, tmp_path):
    scene.config()
    code, out, _ = run(capsys, str(scene.path), "--gpus", "4", "--index", str(tmp_path / "index"))
    assert code == 0 and plan.fingerprint in out and any((tmp_path / "index").iterdir())
    for words in ("1. general", "5,888 of 6,000 asked for, rounded down", "23 of 8 sequences of 32", "general/ko (seen)", "on 4 GPUs"):
        assert words in out
    code, out, _ = run(capsys, str(scene.path), "--json")
    data = json.loads(out)
    assert code == 0 and from_json(data["plan"]) == plan
    assert [stage["steps"] for stage in data["stages"]] == [stage.steps for stage in plan.stages]
    assert sum(stream["tokens"] for stream in data["stages"][0]["streams"]) == plan.stages[0].tokens


def test_the_command_warns(scene, capsys):
    scene.config()
    _, out, _ = run(capsys, str(scene.path), "--gpus", "3", "--gpu-memory", "1e-5")
    assert "this doesn't fit" in out and "8 sequences can't be shared by 3 GPUs" in out
    assert "warning" not in run(capsys, str(scene.path))[1]
    _, out, _ = run(capsys, str(scene.path), "--gpus", "2", "--set", "run.sequence_parallel=4")
    assert "by 2 GPUs in micro-batches of 1 with 4 GPUs to a sequence" in out
    both = '[{"name": "a", "weight": 0.5, "max_epochs": 1}, {"name": "b", "where": {"lang": "ko"}, "weight": 0.5, "max_epochs": 1}]'
    _, out, err = run(capsys, str(scene.path), "--set", f"stages.0.sources={both}", "--set", "stages.0.tokens=null")
    assert "the sources 'a' and 'b' have shards in common" in out, err


def test_the_command_refuses(scene, capsys):
    scene.config()
    for arguments, sentence in (
        ([str(scene.path), "--set", "stages.0.tokens=1e9"], "left of 2 epochs"),
        ([str(scene.path), "--set", "stages.0.tokens=many"], "stages.0.tokens: "),
        ([str(scene.path), "--mfu", "2"], "--mfu"),
        ([str(scene.folder / "none.yaml")], "there is no plan"),
    ):
        code, _, error = run(capsys, *arguments)
        assert code == 2 and sentence in error


def test_the_plan_of_the_2_4b_model(tmp_path):
    """The shipped plan, on a corpus of a few thousand tokens and with a model of its own size cut down."""
    scene = PlanScene(tmp_path)
    path = Path(__file__).parents[2] / "configs" / "pretrain-2.4b.yaml"
    config = load_plan_config(path, [])
    assert sum(stage.tokens or 0 for stage in config.stages) == 6_500_000_000_000
    assert [stage.sequence_length for stage in config.stages] == [4096, 4096, 32_768]
    rows = Counter((document.phase, document.lang) for document in documents())
    overrides = [f"tokenizer={scene.tokenizer}", f"shards={scene.shards}", "validation.share=0.3"]
    for stage, phase in enumerate(("general", "domain")):
        parts = [{"lang": lang, "rows": count} for (of, lang), count in rows.items() if of == phase]
        (tmp_path / f"mix-{phase}.yaml").write_text(yaml.safe_dump({"phase": phase, "parts": parts}), encoding="utf-8")
        overrides.append(f"stages.{stage}.mix={tmp_path}/mix-{phase}.yaml")
    for stage, (tokens, length) in enumerate(((8000, 32), (2000, 32), (2000, 128))):
        own = {"tokens": tokens, "sequence_length": length, "batch_tokens": 256, "schedule.warmup_tokens": 0}
        overrides += [f"stages.{stage}.{key}={value}" for key, value in own.items()]
    plan = resolve(load_plan_config(path, overrides), tmp_path / "cache")
    general, domain, context = plan.stages
    assert domain.schedule.peak == 3e-4 and context.schedule.peak == pytest.approx(3e-5, rel=1e-12)
    assert sum(stream.weight for stream in domain.streams if stream.replays) == 3 * WEIGHTS // 10
    replayed = [stream.name for stream in context.streams if stream.replays]
    assert any(name.startswith("domain/general") for name in replayed)  # the replay of the stage that is replayed
    assert plan.model.rope_scaling is None and context.model.rope_scaling == PRESETS["2.4b"].rope_scaling
    assert general.model.layers == 30


def test_planning_needs_no_torch():
    script = "import sys, training.plan_command; sys.exit(any(name in sys.modules for name in ('torch', 'deepspeed', 'transformers')))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
