"""The engine and a training step on the pretended GPU beside the same on the CPU; one JSON object
on stdout."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pretend_gpu
import torch
from pretend_gpu import GPU, PretendedGraph, moved, pretending
from test_draft import clip_turns

from oncue.engine.engine import Engine, SamplingParams, StaticShapes
from oncue.engine.kv_cache import KVPool
from oncue.engine.static_shapes import Arena
from oncue.engine.step_runner import StepRunner
from oncue.model.cuda_graphs import Graphs
from oncue.model.loading import LoadedModel, load_model
from oncue.recipes.mini import mini_sft
from oncue.train.sft.batches import step_batches
from oncue.train.sft.loop import accumulate_gradient
from oncue.types import EnvTurn
from policy_support import hold

NUM_SESSIONS, NUM_TURNS = 3, 3
GREEDY = SamplingParams(max_new_tokens=8, reply_bias=6.0)  # so that it speaks now and then
WARM = SamplingParams(temperature=1.2, top_k=20, max_new_tokens=8, seed=3, reply_bias=6.0)
SHAPES = StaticShapes(num_slots=NUM_SESSIONS, num_slot_tokens=2048, max_rows=NUM_SESSIONS)

num_recorded = num_replayed = 0


def use_pretended_graphs() -> None:
    """Graphs, and what looks at addresses, as on a GPU; and the engine's own thread pretends,
    too."""
    step, states, replay = StepRunner.run, KVPool._states, PretendedGraph.replay

    def pretended_step(self: StepRunner, *args: Any) -> Any:
        with pretending():
            return step(self, *args)

    def pretended_states(self: KVPool, num_tokens: int) -> torch.Tensor:
        with pretending():
            return states(self, num_tokens)

    def counted(self: PretendedGraph) -> None:
        global num_replayed
        num_replayed += 1
        replay(self)

    def init(self: Graphs, device: torch.device) -> None:
        self._device, self._recorded, self._pool = device, {}, (0, 0) if device == GPU else None

    def record(_: Graphs, function: Any) -> Any:
        global num_recorded
        num_recorded += 1
        graph = PretendedGraph(function)
        return graph, graph.result

    def place(self: Arena, states: Any) -> int | None:
        places = [each.data_ptr() for each in getattr(self.states, "inner", self.states)]
        address = getattr(states, "inner", states).data_ptr()
        return places.index(address) if address in places else None

    StepRunner.run, KVPool._states, Arena.place = pretended_step, pretended_states, place  # type: ignore[method-assign]
    Graphs.__init__, Graphs._record = init, record  # type: ignore[method-assign]
    PretendedGraph.replay = counted  # type: ignore[method-assign]


def streams() -> Iterator[list[EnvTurn]]:
    """Of different lengths, so that shapes and rows change on the way."""
    for k in range(NUM_SESSIONS):
        yield clip_turns(k)[: NUM_TURNS + 2 * k]


def answers(
    loaded: LoadedModel, sampling: SamplingParams, shapes: StaticShapes | None = None
) -> dict[str, Any]:
    """What sessions say together, the steps it took, and what was waited for."""
    num_steps = 0

    async def run() -> list[list[tuple[int, ...]]]:
        nonlocal num_steps
        with Engine(loaded, sampling, shapes=shapes) as engine:
            pretend_gpu.waits.clear()  # those of the engine being built
            choose = engine._steps._sampler.choose

            def counted(*args: Any) -> None:
                nonlocal num_steps
                num_steps += 1
                choose(*args)

            engine._steps._sampler.choose = counted  # type: ignore[method-assign]
            held = await asyncio.gather(
                *(hold(engine.open(seed=k), turns) for k, turns in enumerate(streams()))
            )
            return [[answer.token_ids for answer in each] for each in held]

    with pretending() if loaded.device == GPU else contextlib.nullcontext():
        said = asyncio.run(run())
    return {"said": said, "num_steps": num_steps, "waits": dict(Counter(pretend_gpu.waits))}


def gradients(loaded: LoadedModel) -> tuple[float, list[torch.Tensor]]:
    """The loss of one step of supervised training, and the gradient of every weight, on the CPU."""
    config = replace(
        mini_sft(), num_workers=0, stages=(replace(mini_sft().stages[3], batch_size=3),)
    )
    batch, _ = next(iter(step_batches(config, loaded.renderer, 0)))
    model = loaded.model.train()
    loss = accumulate_gradient(model, batch, loaded.renderer.image_pad_id, config, loaded.device)
    return loss, [p.grad.cpu() for p in model.parameters() if p.grad is not None]


def forbidden() -> dict[str, str]:
    """What the pretended GPU says to what no GPU would do."""
    said = {}
    with pretending():
        ours, theirs = torch.ones(2, device=GPU), torch.ones(2)
        for name, act in {
            "both devices": lambda: ours + theirs,
            "looking at a value": lambda: PretendedGraph(lambda: ours * float(ours.sum())),
            "a value of the CPU": lambda: PretendedGraph(lambda: ours + theirs.to(GPU)),
        }.items():
            try:
                act()
                said[name] = ""
            except RuntimeError as error:
                said[name] = str(error)
    return said


def waits_of_the_stock_tower(loaded: LoadedModel) -> int:
    """For one frame, its grid on the device as transformers' own models have it."""
    frame = loaded.renderer.frame_processor(clip_turns(0)[0].frames.pixels[0])
    pretend_gpu.waits.clear()
    with pretending(), torch.no_grad():
        patches, grids = (
            torch.from_numpy(frame.patches).to(GPU),
            torch.tensor([frame.grid], device=GPU),
        )
        loaded.model.model.get_image_features(patches, grids)
    return len(pretend_gpu.waits)


def product_replayed() -> list[float]:
    """A recorded product, of memory and a number that are both changed before it is replayed."""
    with pretending():
        factor, place = [2.0], torch.ones(2, device=GPU)
        graph = PretendedGraph(lambda: place * factor[0])
        factor[0] = 5.0
        place.fill_(3.0)
        graph.replay()
        again: list[float] = graph.result.tolist()
        return again


def main() -> None:
    on_cpu = load_model("mini", "cpu")
    found: dict[str, Any] = {
        "cpu": {"greedy": answers(on_cpu, GREEDY)["said"], "sampled": answers(on_cpu, WARM)["said"]}
    }
    on_gpu = replace(on_cpu, model=moved(on_cpu.model), device=GPU)
    use_pretended_graphs()
    found["greedy"] = answers(on_gpu, GREEDY)
    found["sampled"] = answers(on_gpu, WARM)
    found["static"] = answers(on_gpu, GREEDY, SHAPES)
    found["num_recorded"], found["num_replayed"] = num_recorded, num_replayed
    found["stock_waits"] = waits_of_the_stock_tower(on_gpu)
    found["forbidden"], found["product"] = forbidden(), product_replayed()
    loss, grads = gradients(on_cpu)
    with pretending():
        loss_there, grads_there = gradients(on_gpu)
    found["loss"] = [loss, loss_there]
    found["grads"] = [
        float(torch.cat([g.flatten() for g in grads]).norm()),
        float(
            torch.cat([(a - b).flatten() for a, b in zip(grads, grads_there, strict=True)]).norm()
        ),
    ]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
