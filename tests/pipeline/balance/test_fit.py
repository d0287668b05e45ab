"""`balance fit`: runs are read strictly, caps hold, the proposal is good and fits into a mix, bad input is one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from pipeline.balance.config import BalanceConfig
from pipeline.balance.proposal import UNIT, capped, caps_of, in_units, propose
from pipeline.balance.regression import fit
from pipeline.balance.runs import read_runs
from pipeline.cli import app
from pipeline.errors import UserError

DOMAINS = ("ads", "law", "web")


def runs(count: int = 60) -> tuple[pa.Table, pa.Table]:
    """Runs whose loss law helps most, web some and ads nothing."""
    shares = np.random.default_rng(3).dirichlet([1.0, 1.0, 1.0], count).round(3)
    loss = 3 - np.log(0.1 + shares @ np.array([0.0, 1.0, 0.5]))
    names = [f"run{number}" for number in range(count)]
    mixtures = pa.table({"run": names} | {name: shares[:, column] for column, name in enumerate(DOMAINS)})
    return mixtures, pa.table({"run": names, "law_loss": loss, "other_loss": loss + 1})


def written(folder: Path, mixtures: pa.Table, losses: pa.Table) -> tuple[str, str]:
    pa_csv.write_csv(mixtures, folder / "mixtures.csv")
    pa_csv.write_csv(losses, folder / "losses.csv")
    return str(folder / "mixtures.csv"), str(folder / "losses.csv")


def changed(table: pa.Table, column: str, row: int, value: float | None) -> pa.Table:
    values = table.column(column).to_pylist()
    values[row] = value
    return table.set_column(table.column_names.index(column), column, pa.array(values, pa.float64()))


def test_one_file_or_two_and_any_order_of_rows_and_columns_are_the_same_runs(tmp_path):
    mixtures, losses = runs()
    two = read_runs(*written(tmp_path, mixtures, losses), [], None)
    assert two.domains == DOMAINS and two.loss_names == ("law_loss", "other_loss") and two.shares.sum(axis=1) == pytest.approx(1)
    order = np.random.default_rng(1).permutation(len(mixtures))
    joined = mixtures.append_column("other_loss", losses["other_loss"]).append_column("law_loss", losses["law_loss"]).take(order)
    pq.write_table(joined.select(joined.column_names[::-1]), tmp_path / "all.parquet")
    one = read_runs(str(tmp_path / "all.parquet"), None, ["law_loss", "other_loss"], "run")
    assert one.domains == two.domains and np.array_equal(one.shares, two.shares) and np.allclose(one.losses, two.losses, rtol=1e-15)
    pq.write_table(losses.take(order), tmp_path / "losses.parquet")
    again = read_runs(str(tmp_path / "mixtures.csv"), str(tmp_path / "losses.parquet"), ["law_loss"], None)
    assert again.loss_names == ("law_loss",) and np.array_equal(again.shares, two.shares)


def refused(folder: Path, mixtures: pa.Table, losses: pa.Table, match: str, key: str | None = None, loss: list[str] | None = None) -> None:
    with pytest.raises(UserError, match=match):
        read_runs(*written(folder, mixtures, losses), loss or [], key)


def test_what_can_not_be_results_of_runs_is_refused(tmp_path):
    mixtures, losses = runs()
    refused(tmp_path, changed(mixtures, "web", 4, 0.9), losses, "the shares in data row 5 of .* sum to .* instead of 1")
    refused(tmp_path, changed(mixtures, "web", 4, -0.1), losses, "has the share -0.1 in data row 5, column 'web'")
    refused(tmp_path, changed(mixtures, "web", 4, None), losses, "has the share nan in data row 5")
    refused(tmp_path, mixtures, changed(losses, "law_loss", 2, float("nan")), "has the loss nan in data row 3, column 'law_loss'")
    refused(tmp_path, mixtures, changed(losses, "law_loss", 2, None), "has the loss nan in data row 3")
    refused(tmp_path, mixtures, changed(losses, "law_loss", 2, float("inf")), "has the loss inf")
    constant = losses.set_column(1, "law_loss", pa.array([3.0] * len(losses)))
    refused(tmp_path, mixtures, constant, "the loss 'law_loss' of .* is the same in all 60 runs")
    refused(tmp_path, mixtures.slice(0, 19), losses.slice(0, 19), "has 19 runs for 3 domains; .* at least 20")
    refused(tmp_path, mixtures.slice(0, 0), losses.slice(0, 0), "has no rows")
    refused(tmp_path, mixtures, losses.slice(1), "1 runs stand in only one of .*, such as run run0")
    refused(tmp_path, mixtures, losses.rename_columns(["id", "law_loss", "other_loss"]), "have no column in common")
    refused(tmp_path, mixtures, losses.append_column("web", losses["law_loss"]), "have the columns 'run', 'web' in common")
    refused(tmp_path, pa.concat_tables([mixtures, mixtures.slice(0, 1)]), losses, "more than one row with the same 'run'")
    refused(tmp_path, mixtures, losses, "has no column 'perplexity'; it has 'law_loss'", loss=["perplexity"])
    refused(tmp_path, mixtures, losses, "has no column 'name'", key="name")
    noted = mixtures.append_column("note", pa.array(["x"] * len(mixtures)))
    refused(tmp_path, noted, losses, "column 'note' of .* holds string, not numbers")
    never = mixtures.append_column("rare", pa.array([0.0] * len(mixtures)))
    refused(tmp_path, never, losses, "no run of .* has a share of 'rare'")
    wide = pa.table({"run": mixtures["run"]} | {f"d{number:02}": [1 / 60] * 60 for number in range(60)})
    refused(tmp_path, wide, losses, "has 60 runs for 60 domains")
    with pytest.raises(UserError, match=r"nothing says which columns of .* are losses"):
        read_runs(str(tmp_path / "mixtures.csv"), None, [], None)
    with pytest.raises(UserError, match="can't read"):
        read_runs(str(tmp_path / "absent.csv"), None, ["loss"], None)
    (tmp_path / "twice.csv").write_text("a,a\n1,2\n", encoding="utf-8")
    with pytest.raises(UserError, match="has the column 'a' twice"):
        read_runs(str(tmp_path / "twice.csv"), None, ["a"], None)


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.floats(1, 3), st.floats(0, 0.9))
def test_capped_mixtures_sum_to_one_below_the_caps_and_keep_proportions(seed, domains, room, zeros):
    random = np.random.default_rng(seed)
    caps = np.minimum(random.dirichlet(np.ones(domains)) * room + 1e-12, 1.0)
    caps = np.ceil(caps / UNIT) * UNIT
    mixtures = random.dirichlet(np.ones(domains), 20) * (random.random((20, domains)) > zeros)
    mixtures = np.where(mixtures.sum(axis=1, keepdims=True) > 0, mixtures, 1.0)
    mixtures /= mixtures.sum(axis=1, keepdims=True)
    found = capped(mixtures, caps)
    if caps.sum() >= 1:
        assert found.sum(axis=1) == pytest.approx(1, abs=1e-9)
    assert np.all(found <= caps + 1e-12) and np.all(found >= np.minimum(mixtures, caps) - 1e-12)
    for before, after in zip(mixtures, found, strict=True):
        if caps[before > 0].sum() < 1 + 1e-9:
            continue  # domains without a share had to take some
        free = (after < caps - 1e-9) & (before > 0)
        ratio = after[free] / before[free]
        assert not len(ratio) or ratio == pytest.approx(ratio[0], rel=1e-6)
    rounded = in_units(found[0], caps)
    if caps.sum() >= 1:
        assert rounded.sum() == pytest.approx(1, abs=1e-12) and np.all(rounded <= caps + 1e-9)
        assert rounded / UNIT == pytest.approx(np.round(rounded / UNIT), abs=1e-6)


def test_the_proposal_beats_every_run_and_obeys_the_caps(tmp_path):
    found = read_runs(*written(tmp_path, *runs()), ["law_loss"], None)
    models = [fit(found.shares, found.losses[:, 0], 0).model]
    free = propose(models, found.shares, np.ones(3), 0)
    assert free.mixture[1] > 0.85 and free.loss < free.mean_mixture_loss and free.mixture.sum() == pytest.approx(1)
    caps = caps_of(DOMAINS, {"ads": 1e9, "law": 100, "web": 400}, 1000, 2.0)
    assert caps.tolist() == pytest.approx([1.0, 0.2, 0.8])
    limited = propose(models, found.shares, caps, 0)
    assert limited.mixture[1] == pytest.approx(0.2, abs=0.001) and limited.mixture[2] > 0.6
    assert propose(models, found.shares, caps, 0).mixture.tolist() == limited.mixture.tolist()


def test_caps_that_can_not_be_are_refused():
    assert caps_of(DOMAINS, None, None, 1.0).tolist() == [1, 1, 1]
    for available, tokens, match in (
        ({"ads": 1, "law": 1, "web": 1}, None, "give the budget with --tokens"),
        ({"ads": 1, "law": 1}, 10, "says nothing of 'web'"),
        ({"ads": 1, "law": 1, "web": "many"}, 10, "gives 'web' the value 'many'"),
        ({"ads": 1, "law": 1, "web": True}, 10, "gives 'web' the value True"),
        ({"ads": 1, "law": 1, "web": float("nan")}, 10, "gives 'web' the value nan"),
        ({"ads": 1, "law": 1, "web": 1}, 10, "a budget of 10 tokens is more than the domains have: 3 with --max-epochs 1"),
    ):
        with pytest.raises(UserError, match=match):
            caps_of(DOMAINS, available, tokens, 1.0)


def test_the_command_writes_a_mix_that_balance_reads(tmp_path):
    mixtures, losses = written(tmp_path, *runs())
    (tmp_path / "available.yaml").write_text("{ads: 5000, law: 100, web: 400}", encoding="utf-8")
    arguments = [
        "balance",
        "fit",
        mixtures,
        losses,
        "--loss",
        "law_loss",
        "--phase",
        "domain",
        "--language",
        "ko=0.7",
        "--language",
        "en=0.3",
    ]
    arguments += ["--tokens", "1000", "--max-epochs", "2", "--available", str(tmp_path / "available.yaml")]
    mix = tmp_path / "mix.yaml"
    result = CliRunner().invoke(app, [*arguments, "-o", str(mix)])
    assert result.exit_code == 0 and "60 runs" in result.output and "rank correlation" in result.output
    config = BalanceConfig.model_validate(yaml.safe_load(mix.read_text(encoding="utf-8")))
    phase = config.phases.domain
    assert config.phases.general is None and phase and phase.languages == {"ko": 0.7, "en": 0.3}
    assert (phase.tokens, phase.max_epochs) == (1000, 2.0) and phase.domains["law"] == pytest.approx(0.2, abs=0.001)
    as_json = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).output)
    assert (
        as_json["mix"] == yaml.safe_load(mix.read_text(encoding="utf-8"))
        and as_json["losses"]["law_loss"]["held_out_rank_correlation"] > 0.9
    )


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (["--phase", "third"], "--phase 'third' is unknown"),
        (["--language", "ko"], "not of the form ko=0.6"),
        (["--language", "ko=0.5"], "languages sum to 0.5"),
        (["-o", "mixtures.csv"], "exists already"),
    ],
)
def test_settings_that_can_not_be_are_a_sentence(tmp_path, monkeypatch, extra, said):
    mixtures, losses = written(tmp_path, *runs())
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["balance", "fit", mixtures, losses, "--loss", "law_loss", *extra])
    assert isinstance(result.exception, UserError) and said in str(result.exception)
