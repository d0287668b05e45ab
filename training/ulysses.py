"""Sequence parallelism (Ulysses, Jacobs et al. 2023, arXiv 2309.14509): the ranks of a group share the tokens of each sequence.

Everything but attention works on tokens by themselves, so each rank does it for its part of the sequence. For attention the ranks exchange
parts: each gets all tokens of some of the heads, attends as on one device, with the documents of whole sequences, and gives the tokens
back. Gradients of the ranks add up to the whole, since each rank's loss is that of its tokens.

Letters of axes: B sequences, S tokens of a whole sequence, n ranks of the group, H heads.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.distributed as dist
from torch.distributed._functional_collectives import all_to_all_single_autograd

from pipeline.errors import UserError
from training.attention import attend
from training.batch import Batch, Segments
from training.model import Attention, Decoder
from training.model_config import ModelConfig


def check_length(length: int, size: int) -> None:
    """Raises UserError where `size` ranks can't share sequences of `length` tokens evenly."""
    if length % size:
        raise UserError(
            f"sequences of {length:,} tokens can't be shared by {size} ranks; choose a sequence_parallel that divides the length"
        )


def check_heads(config: ModelConfig, size: int) -> None:
    """Raises UserError where `size` ranks can't share the model's heads evenly."""
    if config.heads % size or (config.kv_heads % size and size % config.kv_heads):
        raise UserError(
            f"{config.heads} query and {config.kv_heads} key-value heads can't be shared by {size} ranks; "
            "choose a sequence_parallel that divides both (or is a multiple of the key-value heads)"
        )


def shard_batch(batch: Batch, rank: int, size: int) -> Batch:
    """The part of a batch that is the given rank's: tokens [B, S / n], with their positions; the pieces stay those of whole sequences,
    which is what attention sees. Raises UserError when S isn't divisible."""
    length = batch.ids.shape[1]
    check_length(length, size)
    part = slice(rank * length // size, (rank + 1) * length // size)
    segments = replace(batch.segments, positions=batch.segments.positions[:, part].contiguous())
    ids, targets, labels = (tokens[:, part].contiguous() for tokens in (batch.ids, batch.targets, batch.labels))
    return Batch(ids, targets, segments, labels)


def use_sequence_parallel(model: Decoder, group: dist.ProcessGroup) -> None:
    """Let the model's attention exchange tokens and heads within the group. The model is then given what `shard_batch` returns, on each
    rank its own part of the same batch. Raises UserError when the heads can't be shared evenly."""
    check_heads(model.config, dist.get_world_size(group))

    def attend_whole(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, segments: Segments) -> torch.Tensor:
        return attend_shared(query, key, value, segments, group)

    for module in model.modules():
        if isinstance(module, Attention):
            module.attend = attend_whole


def attend_shared(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, segments: Segments, group: dist.ProcessGroup
) -> torch.Tensor:
    """`attend` on this rank's tokens: [B, S/n, H, head_dim] from query of that shape and key, value of fewer heads; segments: of whole
    sequences."""
    size = dist.get_world_size(group)
    if key.shape[2] < size:  # more ranks than key-value heads: each gets a copy of the one that its query heads use
        key, value = (x.repeat_interleave(size // x.shape[2], dim=2) for x in (key, value))
    query, key, value = (_heads_of_all_tokens(x, group) for x in (query, key, value))
    return _tokens_of_all_heads(attend(query, key, value, segments), group)


def _heads_of_all_tokens(x: torch.Tensor, group: dist.ProcessGroup) -> torch.Tensor:
    """[B, S, H/n, head_dim] from [B, S/n, H, head_dim]."""
    by_rank = x.unflatten(2, (dist.get_world_size(group), -1)).movedim(2, 0)  # [n, B, S/n, H/n, head_dim]
    return _all_to_all(by_rank, group).movedim(0, 1).flatten(1, 2)


def _tokens_of_all_heads(x: torch.Tensor, group: dist.ProcessGroup) -> torch.Tensor:
    """[B, S/n, H, head_dim] from [B, S, H/n, head_dim]."""
    by_rank = x.unflatten(1, (dist.get_world_size(group), -1)).movedim(1, 0)  # [n, B, S/n, H/n, head_dim]
    return _all_to_all(by_rank, group).movedim(0, 2).flatten(2, 3)


def _all_to_all(by_rank: torch.Tensor, group: dist.ProcessGroup) -> torch.Tensor:
    """Row r of the result is what rank r has for us in its row; its gradient is the exchange back. A form that can be compiled."""
    return all_to_all_single_autograd(by_rank.contiguous(), None, None, group)
