"""How fast one GPU trains, and where its time goes: `python benchmarks/train_throughput.py`, unattended.

    python benchmarks/train_throughput.py [--preset 2.4b] [--lengths 4096,32768] [--micro 1,2,4,8] [--no-compile] [--peak P] [--json]
    python benchmarks/train_throughput.py --cpu --no-compile        # a tiny model, to see that everything works

For each length, micro-batch and kind of activation checkpointing, a process of its own trains the preset on synthetic packed documents, as
`onnuri train pretrain` does: the same engine (DeepSpeed ZeRO 1, bfloat16 with float32 masters, fused AdamW), layers compiled. A row tells

- tokens/s, over `--steps` steps after a warm-up, each of `--accumulate` micro-batches;
- MFU by PaLM's count (training/flops.py: attention to the whole sequence counts, what checkpointing runs again doesn't) of the GPU's peak;
- the most memory that was allocated (without a GPU: the process's greatest resident size);
- shares of the time that kernels ran in one more step: attention, matrix products, the output head with its products, AdamW, all else.

A case that doesn't fit says so in its row, and greater micro-batches of it are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.aligned import aligned
from pipeline.cli import guarded
from pipeline.errors import RunFailed, UserError
from training.flops import flops_per_token
from training.model_config import PRESETS, ModelConfig

ROOT = Path(__file__).resolve().parents[1]
TINY = ModelConfig(128, 2, 4, 2, 32, 344, vocab_size=1024, tied=True)
"""What --cpu trains."""

MEDIAN_TOKENS = 600
"""Of a synthetic document; lengths are log-normal with sigma 1, as the web's are, roughly."""

PARTS = ("attention", "matmul", "head", "optimizer", "other")
LONG = 16_384
"""From this length on, layers run with selective and full checkpointing; below, with none and selective."""

CASE_SECONDS = 1800
"""After which a case is given up, so that the others get their turn."""

OUT_OF_MEMORY = "out of memory"


@dataclass(frozen=True)
class Case:
    """What one process measures."""

    preset: str
    length: int
    micro: int
    checkpointing: str
    compiled: bool
    accumulate: int
    steps: int
    warmup: int
    peak: float | None

    @property
    def config(self) -> ModelConfig:
        """The model."""
        return TINY if self.preset == "tiny" else PRESETS[self.preset]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="2.4b", choices=PRESETS)
    parser.add_argument("--lengths", default="4096,32768")
    parser.add_argument("--micro", default="1,2,4,8", help="micro-batches; from LONG tokens on only the first")
    parser.add_argument("--checkpointing", help="none, selective, full; more than one with commas")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--accumulate", type=int, default=4)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--peak", type=float, help="operations per second of the GPU, where its name isn't known")
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sys.exit(guarded(lambda: _measure(arguments.case) if arguments.case else _run(arguments)))


def _run(arguments: argparse.Namespace) -> None:
    import torch

    if min(arguments.accumulate, arguments.steps, arguments.warmup) < 1:
        raise UserError("--accumulate, --steps and --warmup must be above 0; correct the one that isn't")
    gpu = torch.cuda.is_available() and not arguments.cpu
    if not gpu and not arguments.cpu:
        raise UserError("no GPU was found; run this on a machine with one, or give --cpu to try a tiny model")
    rows: list[dict[str, Any]] = []
    too_big: set[tuple[int, str]] = set()
    for case in _cases(arguments):
        if (case.length, case.checkpointing) in too_big:
            continue
        print(f"{case.length:,} tokens, micro-batch {case.micro}, checkpointing {case.checkpointing} ...", file=sys.stderr, flush=True)
        row = {**asdict(case), **_in_a_process(case, gpu)}
        rows.append(row)
        if row.get("failed") == OUT_OF_MEMORY:
            too_big.add((case.length, case.checkpointing))
    print(json.dumps(rows, indent=1) if arguments.json else render(rows))
    if all("failed" in row for row in rows):
        raise RunFailed(f"no case could be measured: {rows[0]['failed']}")


def _cases(arguments: argparse.Namespace) -> Iterator[Case]:
    lengths = _numbers(arguments.lengths) if not arguments.cpu else [256]
    micros = _numbers(arguments.micro) if not arguments.cpu else [1, 2]
    for length in lengths:
        usual = "selective" if arguments.cpu else "selective,full" if length >= LONG else "none,selective"
        kinds = arguments.checkpointing or usual
        for checkpointing in kinds.split(","):
            if checkpointing not in ("none", "selective", "full"):
                raise UserError(f"--checkpointing has '{checkpointing}'; give none, selective or full")
            for micro in micros[:1] if length >= LONG else micros:
                yield Case(
                    preset="tiny" if arguments.cpu else arguments.preset,
                    length=length,
                    micro=micro,
                    checkpointing=checkpointing,
                    compiled=not arguments.no_compile,
                    accumulate=arguments.accumulate,
                    steps=arguments.steps,
                    warmup=arguments.warmup,
                    peak=arguments.peak,
                )


def _numbers(text: str) -> list[int]:
    try:
        found = [int(word) for word in text.split(",")]
    except ValueError:
        found = []
    if not found or min(found) < 1:
        raise UserError(f"'{text}' is no list of numbers above 0; give such as 1,2,4")
    return found


def _in_a_process(case: Case, gpu: bool) -> dict[str, Any]:
    """What `_measure` prints, or {"failed": why}: a process of its own, since after running out of memory none is as before."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTORCH_ALLOC_CONF": "expandable_segments:True"}
    if not gpu:
        environment |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--case", json.dumps(asdict(case))]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=CASE_SECONDS)
    except subprocess.TimeoutExpired:
        return {"failed": f"not done after {CASE_SECONDS:,} s"}
    if done.returncode == 0:
        return dict(json.loads(done.stdout.splitlines()[-1]))
    if done.returncode == 2:
        raise UserError(done.stderr.strip().splitlines()[-1].removeprefix("error: "))
    last = (done.stderr.strip().splitlines() or [f"the process ended with code {done.returncode}"])[-1]
    return {"failed": OUT_OF_MEMORY if "out of memory" in done.stderr.lower() else last}


def _measure(text: str) -> None:
    """Train one case in this process and print what it took, as one line of JSON."""
    import torch

    from training.activation import run_layers
    from training.engine import Engine, EngineSettings
    from training.launch import connect, prepare_deepspeed
    from training.metrics import peak_memory, peak_of
    from training.plan import Optimizer

    case = Case(**json.loads(text))
    world = connect()
    prepare_deepspeed(world)
    gpu = world.device.type == "cuda"
    peak = case.peak or peak_of(world)
    if gpu and peak is None:
        raise UserError(f"the peak of {torch.cuda.get_device_name()} isn't known; give its operations per second with --peak")
    settings = EngineSettings(zero_stage=1, precision="bf16" if gpu else "fp32", micro_batch=case.micro)
    model = _random_model(case.config, world.device)
    engine = Engine(model, Optimizer(), settings, world, np.ones(case.config.vocab_size, dtype=np.int64))
    run_layers(model, case.checkpointing, case.compiled)  # type: ignore[arg-type]

    batches = list(_batches(case, case.accumulate))
    for _ in range(case.warmup):
        engine.train_step(batches, 1e-4, 1)
    start = time.perf_counter()
    for _ in range(case.steps):
        loss = engine.train_step(batches, 1e-4, 1).loss  # reading the loss waits for the GPU
    seconds = time.perf_counter() - start
    speed = case.micro * case.length * case.accumulate * case.steps / seconds
    memory = peak_memory(world)
    shares = _shares(lambda: engine.train_step(batches, 1e-4, 1), gpu)
    found = {
        "device": torch.cuda.get_device_name() if gpu else "cpu",
        "tokens_per_second": speed,
        "mfu": None if peak is None else flops_per_token(case.config, case.length) * speed / peak,
        "peak_bytes": memory,
        "loss": loss,
        "shares": shares,
    }
    print(json.dumps(found))


def _random_model(config: ModelConfig, device: Any) -> Any:
    """Weights of the usual size, made where they are used: the values don't matter here, the seconds do."""
    import torch

    from training.model import INITIAL_STD, Decoder
    from training.rope import frequencies

    with torch.device(device):
        model = Decoder(config)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    parameter.normal_(0.0, INITIAL_STD)
    model.frequencies = frequencies(config).to(device)
    return model


def _batches(case: Case, count: int) -> Iterator[Any]:
    """Micro-batches of random tokens in documents of random lengths, each cut where its sequence ends."""
    import torch

    from training.batch import NO_TARGET, Batch, Segments

    generator = np.random.default_rng(0)
    tokens = case.micro * case.length
    for _ in range(count):
        sizes = np.maximum(generator.lognormal(np.log(MEDIAN_TOKENS), 1.0, tokens // 8 + 1).astype(np.int64), 8)
        cuts = np.cumsum(sizes)
        bounds = np.unique([*cuts[cuts < tokens], *range(0, tokens + 1, case.length)])
        ids = torch.from_numpy(generator.integers(0, case.config.vocab_size, (case.micro, case.length)))
        targets = ids.flatten().roll(-1)
        targets[torch.from_numpy(bounds[1:] - 1)] = NO_TARGET
        segments = Segments.of(bounds, case.micro, case.length)
        yield Batch(ids, targets.view_as(ids), segments, torch.zeros_like(ids))


def _shares(step: Any, gpu: bool) -> dict[str, float]:
    """Shares of the time in kernels (on the CPU: in operators) during one step, by part of the model."""
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if gpu else [])]
    with profile(activities=activities) as profiled:
        step()
    events = list(profiled.events() or [])
    times = dict.fromkeys(PARTS, 0.0)
    for event in events:
        if event.device_type == DeviceType.CPU:
            times[_part(event)] += event.self_device_time_total if gpu else event.self_cpu_time_total
    kernels = [event for event in events if event.device_type == DeviceType.CUDA and not event.is_user_annotation]
    whole = sum(event.self_device_time_total for event in kernels) if gpu else sum(times.values())
    times["other"] = whole - sum(time for part, time in times.items() if part != "other")  # kernels without an operator too
    return {part: time / whole if whole else 0.0 for part, time in times.items()}


def _part(event: Any) -> str:
    """By the operator's name, or that of one it was called from: the head's products are the head's."""
    names: list[str] = []
    while event is not None:
        names.append(event.name)
        event = event.cpu_parent
    if any("_TokenLogprobs" in name for name in names):
        return "head"
    if any(name.startswith("Optimizer.step") for name in names):
        return "optimizer"
    if any("attention" in name or "attn" in name for name in names):
        return "attention"
    return "matmul" if any(name in ("aten::mm", "aten::addmm", "aten::bmm") for name in names) else "other"


def render(rows: list[dict[str, Any]]) -> str:
    """A line per case."""
    table = [("checkpointing", "tokens", "micro-batch", "tokens/s", "MFU", "memory", *PARTS)]
    for row in rows:
        what = (row["checkpointing"], f"{row['length']:,}", str(row["micro"]))
        if "failed" in row:
            table.append((*what, row["failed"], *[""] * (len(table[0]) - 4)))
            continue
        mfu = "" if row["mfu"] is None else f"{row['mfu']:.1%}"
        numbers = (f"{row['tokens_per_second']:,.0f}", mfu, f"{row['peak_bytes'] / 1e9:.1f} GB")
        table.append((*what, *numbers, *(f"{row['shares'][part]:.0%}" for part in PARTS)))
    first = rows[0]
    device = next((row["device"] for row in rows if "device" in row), "nothing measured")
    layers = "compiled" if first["compiled"] else "not compiled"
    return "\n".join([*aligned(table), f"{first['preset']} on {device}, layers {layers}, {first['accumulate']} micro-batches a step"])


if __name__ == "__main__":
    main()
