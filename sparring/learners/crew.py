"""Several processes that learn together: each takes its share of a step's lessons and all end with the same weights.

They are started by ``accelerate launch`` or ``torchrun``, which tell them of each other through the environment. Weights are whole in
every process, and gradients are added up; or they are sharded over the processes (FSDP, arXiv 2304.11277), where the launcher's
configuration says so.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel

T = TypeVar("T")


@dataclass(frozen=True)
class Crew:
    """Process ``rank`` of ``size``. Everything here is done by all of them in the same order."""

    rank: int = 0
    size: int = 1
    sharded: bool = False

    @classmethod
    def join(cls) -> Crew:
        """The processes that this one was started with; it alone where it was started alone."""
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size == 1:
            return cls()
        if not dist.is_initialized():
            if torch.cuda.is_available():
                torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
            dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        sharded = os.environ.get("ACCELERATE_USE_FSDP", "").lower() in ("1", "true")
        return cls(rank=dist.get_rank(), size=size, sharded=sharded)

    def shard(self, model: PreTrainedModel) -> None:
        """Leaves each process its part of every weight, where weights are sharded: layer by layer, gathered when they are used."""
        if not self.sharded:
            return
        from torch.distributed.fsdp import CPUOffloadPolicy, OffloadPolicy, fully_shard
        from transformers.modeling_layers import GradientCheckpointingLayer

        offload = os.environ.get("FSDP_OFFLOAD_PARAMS", "").lower() in ("1", "true")
        policy = CPUOffloadPolicy() if offload else OffloadPolicy()
        for module in model.modules():
            if isinstance(module, GradientCheckpointingLayer):
                fully_shard(module, offload_policy=policy)
        fully_shard(model, offload_policy=policy)

    def own(self, shares: Sequence[Sequence[T]]) -> tuple[list[T], int]:
        """What this process does of ``shares``, one for each, and how many passes it makes beyond that for nothing.

        With sharded weights every pass is a joint one, so all processes must make as many.
        """
        mine = list(shares[self.rank])
        return mine, max(map(len, shares)) - len(mine) if self.sharded else 0

    def add_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """The sum over all processes, where that has not been made in the backward pass."""
        if self.size == 1 or self.sharded:
            return
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        for parameter, total in zip(parameters, flat.split([gradient.numel() for gradient in gradients]), strict=True):
            parameter.grad = total.view_as(parameter)

    @property
    def loss_scale(self) -> float:
        """What a loss is multiplied with before its backward pass: sharded gradients come as means over the processes."""
        return float(self.size) if self.sharded else 1.0

    def collect(self, mine: Sequence[T]) -> list[T]:
        """What all processes have, in the order of their ranks; CPU tensors, if any."""
        if self.size == 1:
            return list(mine)
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, list(mine))
        return [item for part in found for item in part]

    def wait(self) -> None:
        if self.size > 1:
            dist.barrier()


ALONE = Crew()


def whole(value: Tensor) -> Tensor:
    """All of a tensor that may be sharded."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def like(value: Tensor, parameter: Tensor) -> Tensor:
    """A whole tensor as this process holds it: sharded if the parameter that it belongs to is."""
    if not isinstance(parameter, DTensor) or value.shape != parameter.shape:
        return value
    return distribute_tensor(value.to(parameter.device), parameter.device_mesh, parameter.placements)
