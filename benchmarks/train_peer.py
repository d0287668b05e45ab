"""A training step beside transformers' own Llama, on this machine: seconds and memory, the same shape, the same tokens, the same losses.

    python benchmarks/train_peer.py [--vocab-size 102400] [--length 2048] [--micro 1] [--steps 4] [--json]

Each runs in a process of its own, forward and backward and AdamW in float32. transformers is given one document per sequence, since its
attention has no document mask on a CPU; ours reads the same. `growth` is the peak of memory over what weights, gradients and moments take.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time

import numpy as np

from pipeline.aligned import aligned
from pipeline.measure import peak_memory_bytes
from training.model_config import ModelConfig


def shape(vocab_size: int) -> ModelConfig:
    return ModelConfig(256, 4, 4, 2, 64, 704, vocab_size=vocab_size, tied=True)


def measure(who: str, vocab_size: int, length: int, micro: int, steps: int) -> dict[str, float]:
    import torch

    from training.batch import Segments
    from training.model import Decoder, initialise

    config = shape(vocab_size)
    ours = Decoder(config)
    initialise(ours, 1)
    if who == "ours":
        model: torch.nn.Module = ours
    else:
        from transformers import LlamaConfig, LlamaForCausalLM

        from training.llama_format import llama_name

        names = {"num_hidden_layers": config.layers, "num_attention_heads": config.heads, "num_key_value_heads": config.kv_heads}
        sizes = {"hidden_size": config.hidden_size, "intermediate_size": config.intermediate_size, "vocab_size": vocab_size}
        rope = {"rope_type": "default", "rope_theta": config.rope_theta}
        rest = {"head_dim": config.head_dim, "rms_norm_eps": config.norm_eps, "tie_word_embeddings": True, "rope_parameters": rope}
        model = LlamaForCausalLM(LlamaConfig(**names, **sizes, **rest))
        model.load_state_dict({llama_name(name): values for name, values in ours.state_dict().items()})
        del ours
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    ids = torch.from_numpy(np.random.default_rng(1).integers(0, vocab_size, (micro, length)))
    targets = torch.roll(ids, -1, 1)
    targets[:, -1] = -100
    losses, seconds = [], []
    for _ in range(steps + 1):
        begun = time.perf_counter()
        if who == "ours":
            logprobs, _ = model(ids, Segments.whole(micro, length), targets)
            loss = -logprobs.sum() / (targets >= 0).sum()
        else:
            loss = model(ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
        seconds.append(time.perf_counter() - begun)
    states = 16 * config.parameters
    rate = micro * length / float(np.median(seconds[1:]))
    return {"tokens_per_second": rate, "peak": peak_memory_bytes(), "states": states, "first": losses[0], "last": losses[-1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocab-size", type=int, default=102_400)
    parser.add_argument("--length", type=int, default=2048)
    parser.add_argument("--micro", type=int, default=1)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--who", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    given = (arguments.vocab_size, arguments.length, arguments.micro, arguments.steps)
    if arguments.who:
        print(json.dumps(measure(arguments.who, *given)))
        return
    found = {}
    for who in ("ours", "transformers"):
        told = subprocess.run([sys.executable, __file__, *sys.argv[1:], "--who", who], check=True, capture_output=True, text=True)
        found[who] = json.loads(told.stdout.splitlines()[-1])
    if arguments.json:
        print(json.dumps(found, indent=1))
        return
    rows = [("", "tokens/s", "peak GB", "growth GB", "first loss", f"after {arguments.steps} steps")]
    for who, row in found.items():
        gigabytes = (f"{row['peak'] / 1e9:.2f}", f"{(row['peak'] - row['states']) / 1e9:.2f}")
        rows.append((who, f"{row['tokens_per_second']:,.0f}", *gigabytes, f"{row['first']:.5f}", f"{row['last']:.5f}"))
    print("\n".join(aligned(rows, words=1)))


if __name__ == "__main__":
    main()
