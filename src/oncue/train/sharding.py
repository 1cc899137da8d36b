"""One model spread over all processes: each keeps its shard of every weight, gradient and optimiser
state (FSDP2).

Training gathers the weights of a layer where it needs them. Rollouts cannot do that: processes run
different numbers of forwards there, and each gathering is a meeting of all. So the weights are
gathered once per step, into a hollow copy of the model that is emptied again before training. It is
an ordinary model; checkpoints are written from it, too.

Gradients are added up into the shards after every micro-batch: waiting for the last one would mean
to keep whole gradients. So all processes must run the same number of micro-batches, and use the
same parts of the model in each.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor


class Root(torch.nn.Module):
    """A model whose `forward` is any work on it. Shards are gathered around a `forward`, and
    training does not go through that of the model itself."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, work: Callable[..., Any], *args: Any) -> Any:
        """`work(model, *args)`."""
        return work(self.model, *args)


def shard(root: Root, device: torch.device) -> None:
    """Leaves this process its shard of every parameter; layers and vision blocks are gathered one
    at a time."""
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    for block in [*root.model.model.visual.blocks, *root.model.model.language_model.layers]:
        fully_shard(block, mesh=mesh)
    fully_shard(root, mesh=mesh)
    for module in root.modules():
        # Gradients are added up, not averaged: the loss is that of all processes
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)


def hollow_copy(model: Any) -> Any:
    """The same modules with parameters that hold nothing yet; those that were one parameter still
    are."""
    empty = {
        id(p): torch.nn.Parameter(
            torch.empty(0, dtype=p.dtype, device=p.device), requires_grad=False
        )
        for p in model.parameters()
    }
    return copy.deepcopy(model, empty).eval()


@contextmanager
def gathered(hollow: Any, model: Any) -> Iterator[None]:
    """Within the block `hollow`, a hollow copy of the sharded `model`, has its weights. All
    processes must enter."""
    targets = list(hollow.parameters())
    for target, parameter in zip(targets, model.parameters(), strict=True):
        target.data = parameter.detach().full_tensor()
    try:
        yield
    finally:
        for target in targets:
            target.data = target.data.new_empty(0)


def as_number(value: Any) -> float:
    """The number in a tensor, which may be sharded: then all processes must ask."""
    return float(value.full_tensor() if isinstance(value, DTensor) else value)


def whole_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The state dictionary of an optimiser as if nothing were sharded. Where it is, all processes
    must ask, and the first gets it, in the memory of the CPU."""
    plain = optimizer.state_dict()
    of_parameters = {
        number: {name: _whole(state[name]) for name in sorted(state)}
        for number, state in sorted(plain["state"].items())
    }
    return {**plain, "state": of_parameters}


def _whole(value: Any) -> Any:
    if not isinstance(value, DTensor):
        return value
    whole = value.full_tensor()
    return whole.cpu() if dist.get_rank() == 0 else None


def sharded_state(
    plain: dict[str, Any], parameters: Sequence[torch.nn.Parameter]
) -> dict[str, Any]:
    """What `whole_state` gave, with each tensor sharded as its parameter is; `parameters` in the
    optimiser's order."""
    of_parameters = {
        number: {name: _like(value, parameters[number]) for name, value in state.items()}
        for number, state in plain["state"].items()
    }
    return {**plain, "state": of_parameters}


def _like(value: Any, parameter: torch.nn.Parameter) -> Any:
    if (
        not isinstance(parameter, DTensor)
        or not isinstance(value, torch.Tensor)
        or value.shape != parameter.shape
    ):
        return value
    return distribute_tensor(value, parameter.device_mesh, parameter.placements, src_data_rank=None)
