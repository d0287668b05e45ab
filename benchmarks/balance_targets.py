"""Two hundred random feasible mixtures of the development texts: are their shares met and their budgets kept?

    python benchmarks/balance_targets.py DATA [--targets 200] [--seed 0]

Every text of DATA/text is a document of its language whose domain is its file; qualities are uniform noise. Each target has random shares
of languages and of up to three domains, a random method, epochs, quality rules, rehydration and part of the largest budget that fits.
A share counts as missed when it is off by more than 0.5 % of the phase and by more than one document of the group.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pipeline.balance.groups import describe
from pipeline.balance.sample import sampling_keys
from pipeline.balance.tally import CountedBatch
from pipeline.errors import UserError
from tests.pipeline.balance.random_targets import SEED, chosen, missed_by

RATES = {"ko": 4.6, "en": 4.2}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--targets", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    batch = read_corpus(arguments.data / "text")
    chance = random.Random(arguments.seed)
    sizes = Counter(batch.documents.domains[code] for code in batch.documents.domain_code.tolist())
    print(
        f"{len(batch.documents.tokens):,} documents, {batch.documents.tokens.sum() / 1e6:.1f} M tokens; documents per domain: {dict(sizes)}"
    )
    lacking: list[float] = []
    missed: list[str] = []
    done = refused = 0
    began = time.perf_counter()
    while done < arguments.targets:
        settings = random_settings(chance, batch.documents.domains)
        try:
            plan = chosen(batch, settings)
        except UserError:  # a language without documents of a named domain
            refused += 1
            continue
        found, shares = missed_by(batch, *plan)
        missed += [f"{settings}: {sentence}" for sentence in found]
        lacking += shares
        done += 1
    seconds = (time.perf_counter() - began) / done
    print(f"{done} targets ({refused} that name a domain which a language lacks were drawn again), {seconds:.2f} s each")
    print(f"missed shares and exceeded budgets: {len(missed)}")
    for sentence in missed[:10]:
        print(sentence)
    errors = 100 * np.array(lacking)
    larger = int((errors > 0.5).sum())
    print(
        f"{len(errors)} groups lack, in % of the phase: median {np.median(errors):.4f}, mean {errors.mean():.4f}, most {errors.max():.1f}"
    )
    print(f"{larger} of them lack more than 0.5 %, each by less than the next document of its queue")


def read_corpus(folder: Path) -> CountedBatch:
    """The development texts as balance counts them."""
    from decontam.readers import read_rows

    columns: dict[str, list[Any]] = {name: [] for name in ("id", "lang", "domain", "quality", "text_bytes", "rehydration_weight")}
    for path in sorted(folder.rglob("*.jsonl.gz")):
        name = path.name.split(".")[0]
        for number, record in read_rows(path):
            identity = f"{name}-{number}"
            noise = xxhash.xxh3_64_intdigest(identity.encode(), 1)
            values = identity, path.parent.name, name, noise / 2**64, len(record["text"].encode()), 1 + noise % 3
            for column, value in zip(columns.values(), values, strict=True):
                column.append(value)
    table = pa.table(columns)
    return CountedBatch(describe(table, {}, RATES), {"general": sampling_keys(table.column("id"), SEED)})


def random_settings(chance: random.Random, domains: list[str]) -> dict[str, Any]:
    korean = chance.uniform(0.05, 0.95)
    named = chance.sample(domains, chance.randint(0, 3))
    english_only = chance.random() < 0.5
    cuts = sorted(chance.uniform(0.0, 0.9) for _ in named)
    shares = {name: high - low for name, low, high in zip(named, [0.0, *cuts], cuts, strict=False)}
    one = {"en": 1.0} if english_only else {"ko": 1.0}
    return {
        "languages": one if named else {"ko": korean, "en": 1 - korean},
        "domains": shares,
        "method": chance.choice(["proportional", "temperature", "unimax"]),
        "max_epochs": chance.choice([1.0, 1.5, 4.0]),
        "quality_top": chance.choice([{}, dict.fromkeys(one if named else ("ko", "en"), 0.5)]),
        "quality_tilt": chance.choice([1.0, 10.0]),
        "rehydrate": chance.random() < 0.5,
        "part": chance.uniform(0.02, 1.0),
    }


if __name__ == "__main__":
    main()
