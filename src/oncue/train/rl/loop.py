"""Multi-turn reinforcement learning: rollouts, their rewards, and a step towards the better ones.

GRPO (MMDuet2, section 4.3) compares the members of a group, PPO (Video-MTR, section 3.3) has a
critic. The loop reads top to bottom: build, resume; then roll out, judge, credit, update, log,
save.
Engine and trainer share the weights, so rollouts are those of the policy that is trained. Every
random number follows from the seed and the step, so a run that was killed goes on as if it had not
been.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import torch

from oncue.aio import completed
from oncue.data.bad_rows import skipped_warning
from oncue.errors import ModelError, StoppedElsewhereError
from oncue.files import write_text
from oncue.hub import resolve_model
from oncue.model.loading import LoadedModel, load_model
from oncue.policy.open_policy import LocalModel, LocalPolicy, open_policy
from oncue.rewards.bootstrapping import Bootstrapping
from oncue.rewards.retrieval import OUTCOME_TERMS
from oncue.scoring.score import Reward, Score
from oncue.stopping import Stopper
from oncue.train.checkpoint import Progress, latest_checkpoint, ruined, side_files
from oncue.train.ending import end, let_go
from oncue.train.log_to import LogName, RunLogs
from oncue.train.parallel import ALONE, Ranks, joined
from oncue.train.prefetch import lost_worker_reported
from oncue.train.rl.crediting import credited, shaped
from oncue.train.rl.example_supply import examples_of, examples_of_step
from oncue.train.rl.groups import Group, roll_out, without_frames
from oncue.train.rl.policy_trainer import PolicyTrainer
from oncue.train.rl.settings import GrpoConfig, PpoConfig, groups_per_process
from oncue.train.rl.step_metrics import rollout_lines, step_metrics, warnings_of
from oncue.train.run_dir import RunDirectory
from oncue.train.trial import Laps, Trial, at_once_s, stored_bytes

__all__ = ["GrpoConfig", "PpoConfig", "train_grpo"]


@lost_worker_reported()
def train_grpo(
    config: GrpoConfig,
    reward: Reward,
    out: Path,
    *,
    resume: bool,
    allow_changed_data: bool = False,
    report: Callable[[dict[str, Any]], None],
    check_judge: Callable[[], None] = lambda: None,
    log_to: Sequence[LogName] = (),
) -> Path:
    """Runs or resumes reinforcement learning in the run directory `out`; returns the folder of the
    final model.

    `reward` scores episodes, and `check_judge()` is called once those of a step are scored, before
    anything is learned from them. What they raise (a judge that is down) stops the run after the
    last finished step, which is saved first, to be resumed there. `report(metrics)` is called at
    every step that is logged. `allow_changed_data`, `log_to`: as of `train_sft`. Raises
    ConfigError, ModelError and DataError as `train_sft`, and RunStoppedError when loss or gradient
    are not finite, a checkpoint cannot be written, or memory runs out. Signals raise a
    KeyboardInterrupt as in `train_sft`.

    Where torchrun has started several processes, each calls this, with an `out` that all can read.
    They share the groups of every step; the first process writes and reports for all.
    """
    config.examples.reread()
    stopper = Stopper(
        patient=True, second_leaves=Ranks.of_environment().size == 1
    )  # of several, none may be missed
    with joined(config.device) as (ranks, device), stopper.listening(), RunLogs(log_to) as logs:
        with ranks.together():
            groups_per_process(config, ranks.size)
            run = RunDirectory(out)
            if ranks.is_first:
                run = RunDirectory.open(
                    out, config, resume=resume, allow_changed_data=allow_changed_data, logs=logs
                )
        final, step = _train(
            config, reward, check_judge, run, ranks, device, stopper, resume=resume, report=report
        )
        with ranks.together():
            if ranks.is_first:
                run.finish(config, final, step)
        return final


def _train(
    config: GrpoConfig,
    reward: Reward,
    check_judge: Callable[[], None],
    run: RunDirectory,
    ranks: Ranks,
    device: str | None,
    stopper: Stopper,
    *,
    resume: bool,
    report: Callable[[dict[str, Any]], None],
) -> tuple[Path, int]:
    """The loop. Returns the folder of the final model, and the steps done."""
    previous = ranks.gather(latest_checkpoint(run.checkpoints) if resume else None)[0]
    with ranks.together(), stopper.interruptible():
        source = previous or resolve_model(config.model)
        loaded = load_model(source, device, config.param_dtype, max_pixels=config.max_pixels)
        beside_weights = side_files(source, loaded.renderer)
        trainer = PolicyTrainer(config, loaded, run.checkpoints, ranks, stopper, previous)
        progress = trainer.load(previous) if previous else Progress(0)
        shaper, shaping = _shaper(config, progress), progress.shaping
        if ranks.is_first:
            run.log_from(progress.step, config)
    step = saved = resumed_at = progress.step
    final = previous
    supply = examples_of(config, step, ranks, loaded.renderer)
    places = ranks.deal(range(config.prompts_per_step))
    torch.manual_seed(config.seed)
    with _sampler(config, trainer.loaded) as policy, asyncio.Runner() as runner:
        engine = policy.engine

        def keep_and_end(error: BaseException) -> NoReturn:
            let_go(error)
            engine.forget()
            trainer.optimizer.zero_grad(set_to_none=True)
            kept = (
                trainer.save(Progress(step, shaping=shaping), beside_weights)
                if step > saved and trainer.may_save
                else final
            )
            end(error, config, step, kept)

        while step < config.num_steps:
            started_s = time.perf_counter()
            try:
                with trainer.whole_model(), ranks.together(), stopper.interruptible():
                    examples = next(supply)
                    groups = completed(
                        roll_out(engine, examples, config.group_size, (config.seed, step), places),
                        runner,
                    )
                    rolled_s = time.perf_counter()
                    groups = completed(_scored(groups, reward), runner)
                    check_judge()
                judged_s = time.perf_counter()
                engine.forget()
                groups, credit = credited(shaped(groups, shaper, ranks), trainer, config)
                update = credit | trainer.update(groups, step)
            except (
                Exception,
                KeyboardInterrupt,
            ) as error:  # raised again: what was learned before this step is kept
                if step > resumed_at and isinstance(
                    error, ModelError
                ):  # it could be used when the run began
                    raise ruined(step, error, run.checkpoints) from error
                keep_and_end(error)
            step += 1
            shaping = {} if shaper is None else shaper.state()
            seconds = {
                "rollout_s": rolled_s - started_s,
                "judge_s": judged_s - rolled_s,
                "train_s": time.perf_counter() - judged_s,
            }
            groups = ranks.collect([without_frames(group) for group in groups])
            try:
                with ranks.together():
                    if ranks.is_first:
                        _record(run, config, step, groups, update | seconds, report, reward)
            except (
                OSError,
                StoppedElsewhereError,
            ) as error:  # raised again: the step is done, only its report is not
                keep_and_end(error)
            if step % config.save_every_steps == 0 or step == config.num_steps:
                progress = Progress(step, shaping=shaping)
                final, saved = trainer.save(progress, beside_weights), step
    assert final is not None
    return final, step


def try_first_step(config: GrpoConfig, num_groups: int, reward: Reward) -> Trial:
    """What the first step of a run takes in one process that has `num_groups` groups of it. Nothing
    of it is kept.

    No judge is asked: every other member is taken to be better than the rest. `reward` says in
    which form rollouts are stored. Raises ModelError and DataError as `train_grpo`; what torch
    raises where memory runs out goes through.
    """
    loaded = load_model(
        config.model, config.device, config.param_dtype, max_pixels=config.max_pixels
    )
    trainer = PolicyTrainer(config, loaded, Path())
    laps = Laps(loaded.device)
    examples = examples_of_step(config, 0, ALONE, loaded.renderer, 0)[:num_groups]
    made_s = laps.next_s()
    with _sampler(config, loaded) as policy:
        groups = completed(roll_out(policy.engine, examples, config.group_size, (config.seed, 0)))
        policy.engine.forget()
        groups = [replace(group, scores=_better_by_turns(group)) for group in groups]
        groups, _ = credited(groups, trainer, config)
        made = trainer.update(groups, 0)
    stepped_s = laps.next_s()
    size = len(_stored(groups, 1, reward)) * config.prompts_per_step // len(groups)
    seconds = at_once_s(made_s, stepped_s, config.num_workers)
    of_checkpoint = stored_bytes(trainer.stored, trainer.trained)
    return Trial(seconds, int(made["num_tokens"]), of_checkpoint, size)


def _sampler(config: GrpoConfig, loaded: LoadedModel) -> LocalPolicy:
    """The policy that is trained, as it is sampled: in lockstep, and with a trace of every
    session."""
    return open_policy(
        LocalModel(
            loaded,
            sampling=config.sampling,
            lookahead=config.lookahead,
            lockstep=True,
            record=True,
            autocast_dtype=config.autocast_dtype,
        )
    )


def _record(
    run: RunDirectory,
    config: GrpoConfig,
    step: int,
    groups: Sequence[Group],
    update: Mapping[str, float],
    report: Callable[[dict[str, Any]], None],
    reward: Reward,
) -> None:
    """Logs a finished step, where one is due or there is something to warn of, and stores its
    rollouts."""
    metrics: dict[str, Any] = {
        "step": step,
        "total_steps": config.num_steps,
        "stage": "ppo" if isinstance(config, PpoConfig) else "grpo",
        **update,
    }
    metrics |= step_metrics(groups, reward)
    metrics["tokens_per_s"] = update["num_tokens"] / update["train_s"]
    skipped = [group.example.skipped for group in groups if group.example.skipped]
    compares = not isinstance(config, PpoConfig)
    found = warnings_of([*run.metrics()[-49:], metrics], reward, compares_members=compares)
    metrics["warnings"] = [*found, *skipped_warning(skipped)]
    if metrics["warnings"] or step % config.log_every_steps == 0 or step == config.num_steps:
        run.log(metrics)
        report(metrics)
    if step % config.store_every_steps == 0 or step == config.num_steps:
        write_text(
            run.folder / "rollouts" / f"step_{step:06d}.jsonl", _stored(groups, step, reward)
        )


def _stored(groups: Sequence[Group], step: int, reward: Reward) -> str:
    return "".join(json.dumps(line) + "\n" for line in rollout_lines(groups, step, reward))


async def _scored(groups: Sequence[Group], reward: Reward) -> list[Group]:
    """Every group with the score of each member, all questions to a judge on the way at once; it
    limits its own rate."""

    async def one(group: Group) -> Group:
        scores = await asyncio.gather(*(reward(episode) for episode in group.episodes))
        return replace(group, scores=tuple(scores))

    return list(await asyncio.gather(*(one(group) for group in groups)))


def _better_by_turns(group: Group) -> tuple[Score, ...]:
    """Scores of which every other one is better than the rest."""
    scores = []
    for member, episode in enumerate(group.episodes):
        last = float(member % 2)
        values = (*(0.0 for _ in episode.exchanges[1:]), last)
        scores.append(Score(values, exchange_terms={OUTCOME_TERMS[0]: values}))
    return tuple(scores)


def _shaper(config: GrpoConfig, progress: Progress) -> Bootstrapping | None:
    """What adds the bonus for looks, as the run left it."""
    if config.bootstrapping is None:
        return None
    shaper = Bootstrapping(config.bootstrapping)
    if progress.shaping:
        shaper.restore(progress.shaping)
    return shaper
