"""Which processes share a sequence: with sequence parallelism of n, n consecutive ones read the same samples, each its part of them."""

from __future__ import annotations

import torch.distributed as dist

from pipeline.errors import UserError
from training.attention import attend
from training.batch import Batch
from training.launch import World
from training.model import Decoder
from training.plan import Stage
from training.ulysses import check_heads, check_length, shard_batch, use_sequence_parallel


class SequenceGroups:
    """The groups as a stage has them. rank, size: of this process's group among all, by which samples are shared out."""

    def __init__(self, world: World) -> None:
        self._world, self._made = world, dict[int, dist.ProcessGroup]()
        self._part, self._parts = 0, 1
        self.rank, self.size = world.rank, world.size

    def check(self, stage: Stage, parts: int) -> None:
        """Raises UserError where `parts` processes can't share the stage's sequences, or the processes don't come out even."""
        if self._world.size % parts:
            raise UserError(
                f"stage '{stage.name}' has a sequence_parallel of {parts}, and there are {self._world.size} processes; "
                "choose one that divides them"
            )
        check_length(stage.length, parts)
        check_heads(stage.model, parts)

    def use(self, model: Decoder, parts: int) -> None:
        """Let `parts` processes share each sequence from now on. All processes together."""
        self.rank, self._part = divmod(self._world.rank, parts)
        self.size, self._parts = self._world.size // parts, parts
        if parts > 1:
            use_sequence_parallel(model, self._group(parts))
            return
        for layer in model.layers:
            layer.self_attn.attend = attend  # type: ignore[union-attr,assignment]

    def share(self, batch: Batch) -> Batch:
        """This process's part of its group's batch."""
        return batch if self._parts == 1 else shard_batch(batch, self._part, self._parts)

    def _group(self, parts: int) -> dist.ProcessGroup:
        if parts not in self._made:
            for first in range(0, self._world.size, parts):  # every process makes every group
                group = dist.new_group(list(range(first, first + parts)))
                if first <= self._world.rank < first + parts:
                    self._made[parts] = group
        return self._made[parts]
