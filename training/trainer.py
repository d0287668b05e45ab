"""The training: stage after stage, step after step, from the newest checkpoint to the end of the plan.

The state is `Place` and what a checkpoint holds; everything else follows from the plan. So the same command goes on after any end, and a
training that was interrupted has the losses of one that wasn't, to the bit where the number of processes is the same.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.errors import RunFailed, UserError
from training import checkpoint
from training.activation import run_layers
from training.batch import Batch
from training.engine import Engine, EngineSettings, StepResult, Sums, new_model
from training.flops import flops_per_token
from training.guard import Guard, Verdict
from training.launch import World, on_first
from training.loader import StageData, batches, open_stage, samples_read, steps_of
from training.metrics import MFU_FORMULA, Log, by_stream_and_language, peak_memory, peak_of
from training.place import Place
from training.plan import Plan, Stage
from training.plan_config import PlanConfig
from training.prefetch import prefetch
from training.rope import frequencies
from training.run_folder import CHECKPOINTS, INDEX, LOG
from training.schedule import learning_rate
from training.sequence_groups import SequenceGroups
from training.token_bytes import byte_lengths
from training.validation import Validator, languages_of
from training.watch import Watch, count

STEPS_AHEAD = 2
"""Steps whose batches are made while an earlier one is computed."""

GO_ON = "run the same command again to go on"


class Trainer:
    """One process's part of a training. config.run and config.guard say how; the plan says what."""

    def __init__(self, config: PlanConfig, plan: Plan, run: Path, world: World, watch: Watch) -> None:
        self.config, self.plan, self.run, self.world, self.watch = config, plan, run, world, watch
        self.checkpoints, self.cache = run / CHECKPOINTS, run / INDEX
        self.peak = peak_of(world)
        self.byte_lengths = byte_lengths(Path(plan.tokenizer), plan.model.vocab_size)
        self.groups = SequenceGroups(world)
        self.begun = time.monotonic()
        self.engine, self.place = self._start()
        run_settings = config.run
        self.log: Log | None = None
        if world.first:
            board = run / "tensorboard" if run_settings.tensorboard else None
            self.log = Log(run / LOG, self.place.step, board, run_settings.wandb_project, plan.name)

    def train(self) -> dict[str, Any]:
        """To the end of the plan; what came out, as plain data. Raises RunFailed where it ends earlier, with everything saved that can be."""
        with _signals(self.engine_stop):
            try:
                self._say_start()
                while self.place.stage < len(self.plan.stages):
                    self._stage()
            finally:
                self.watch.end()
                if self.log:
                    self.log.close()
        return {"steps": self.place.step, "tokens": self.place.tokens, "checkpoint": str(checkpoint.all_of(self.checkpoints)[-1])}

    def engine_stop(self) -> None:
        """A signal asks for an end: all processes save after the step that runs."""
        self.engine.stop_wanted = True

    def _start(self) -> tuple[Engine, Place]:
        """The engine with the newest checkpoint, or with first weights."""
        found = on_first(self.world, lambda: next(reversed(checkpoint.all_of(self.checkpoints)), None))
        state = checkpoint.read_state(found) if found else None
        settings = self._engine_settings(state)
        universal = state is not None and state["processes"] != self.world.size
        model = new_model(self.plan.model, self.plan.seed, settings, self.world, Path(self.plan.initial) if self.plan.initial and not found else None)
        engine = Engine(model, self.plan.optimizer, settings, self.world, self.byte_lengths, universal)
        if found is None or state is None:
            on_first(self.world, lambda: checkpoint.refuse_without_room(self.checkpoints, checkpoint.bytes_of(engine)))
            return engine, Place()
        checkpoint.verify(found, self.world)
        checkpoint.load(engine, found)
        return engine, Place.from_json(state["place"])

    def _engine_settings(self, state: dict[str, Any] | None) -> EngineSettings:
        run = self.config.run
        precision = run.precision if run.precision != "auto" else ("bf16" if self.world.device.type == "cuda" else "fp32")
        settings = EngineSettings(zero_stage=run.zero_stage, precision=precision, micro_batch=run.micro_batch)
        for key in ("zero_stage", "precision"):
            if state is not None and state[key] != getattr(settings, key):
                raise UserError(f"the checkpoints in '{self.run}' have {key} {state[key]}, and run.{key} gives {getattr(settings, key)}; set it back")
        return settings

    def _stage(self) -> None:
        """The stage at the current place, to its end; or from its last checkpoint again, where the guard says so."""
        index, stage = self.place.stage, self.plan.stages[self.place.stage]
        run = self.config.run_of(index)
        self.groups.use(self.engine.model, stage, run.sequence_parallel)
        run_layers(self.engine.model, run.activation_checkpointing, run.compile)
        self.engine.model.frequencies = frequencies(stage.model)
        data: StageData = on_first_then_all(self.world, lambda: open_stage(self.plan, index, self.place.ledger, self.cache))
        validator = on_first_then_all(self.world, lambda: Validator(self.plan, index, self.cache))
        if self.place.stage_step == 0 and not stage.keep_optimizer:
            self.engine.forget_moments()
        steps = steps_of(stage.samples, stage.batch_samples, self.place.skips)
        self.watch.begin(stage.name, steps, self.place.stage_step)
        if not self._steps(stage, data, validator, steps):
            return
        used = data.used(samples_read(self.place.stage_step, stage.batch_samples, self.place.skips))
        self._validate(stage, validator)
        self.place = self.place.next_stage(self.place.ledger.after(stage.name, data.streams, used))
        self._save(stage_end=True)

    def _steps(self, stage: Stage, data: StageData, validator: Validator, steps: int) -> bool:
        """Train to the stage's end; False where the guard sent the training back."""
        run, guard = self.config.run_of(self.place.stage), self._guard()
        micro = (run.micro_batch, self.groups.rank, self.groups.size)
        stretch = Stretch()
        rest = range(self.place.stage_step, steps)
        for mine in prefetch(batches(data, rest, stage.batch_samples, *micro, self.place.skips), STEPS_AHEAD):
            verdicts: list[Verdict] = []
            rate = learning_rate(stage.schedule, stage.tokens, self.place.stage_step * stage.batch_samples * stage.length)
            result = self.engine.train_step(self._share(mine), rate, len(data.labels), lambda loss, v=verdicts: _take(guard.judge(loss), v))  # type: ignore[misc]
            verdict = verdicts[0]
            if verdict is Verdict.take and result.skipped:
                verdict = guard.refused()
            if verdict is not Verdict.take and self._not_taken(verdict, stage, result):
                return False
            self.place = self.place.next_step(stage.batch_samples * stage.length, guard.losses)
            stretch.add(result, stage.batch_samples * stage.length)
            self._after_step(stage, data, validator, steps, stretch, rate, result)
        return True

    def _after_step(
        self, stage: Stage, data: StageData, validator: Validator, steps: int, stretch: Stretch, rate: float, result: StepResult
    ) -> None:
        run, last = self.config.run, self.place.stage_step == steps
        if last or self.place.step % run.log_every_steps == 0:
            self._log_step(stage, data, stretch, rate, result)
        if self.config.validation and not last and self.place.step % self.config.validation.every_steps == 0:
            self._validate(stage, validator)
        if result.stop and not last:
            saved = self._save()
            raise RunFailed(f"asked to stop; saved {saved} after step {self.place.step:,}: {GO_ON}")
        if not last and self.place.step % run.checkpoint_every_steps == 0:
            self._save()
        if run.max_minutes is not None and time.monotonic() - self.begun >= 60 * run.max_minutes:
            self.engine.stop_wanted = True

    def _not_taken(self, verdict: Verdict, stage: Stage, result: StepResult) -> bool:
        """Tell of a step that was left out; go back where the verdict is that. True where it went back."""
        step, loss = self.place.step + 1, result.loss
        self.event(step, f"step {step:,} left out: loss {loss:.3f}, gradient norm {result.grad_norm:.3g}", verdict=verdict.value)
        if verdict is Verdict.stop:
            raise RunFailed(
                f"stopped at step {step:,} of stage '{stage.name}' (loss {loss:.3f}); look at log.jsonl, change guard or the plan, and {GO_ON} "
                "from the last checkpoint"
            )
        if verdict is Verdict.skip:
            return False
        self._rewind(stage)
        return True

    def _rewind(self, stage: Stage) -> None:
        """Back to the newest checkpoint, and past the samples that were read since."""
        end = samples_read(self.place.stage_step + 1, stage.batch_samples, self.place.skips)
        stop = self.engine.stop_wanted
        self.engine.close()
        self.engine, self.place = self._start()
        self.engine.stop_wanted = stop
        first = samples_read(self.place.stage_step, stage.batch_samples, self.place.skips)
        self.place = replace(self.place, skips=(*self.place.skips, (first, end)))
        if self.log:
            self.log.cut(self.place.step)
        self.event(self.place.step, f"back to step {self.place.step:,}, past samples {first:,} to {end - 1:,} of stage '{stage.name}'")

    def _guard(self) -> Guard:
        guard = self.config.guard
        return Guard(guard.spike_sigma, guard.window, guard.on_spike, guard.max_skipped, self.place.losses)

    def _share(self, mine: list[Batch]) -> list[Batch]:
        return [self.groups.share(batch) for batch in mine]

    def _save(self, stage_end: bool = False) -> Path:
        settings = self.engine.settings
        state = {
            "step": self.place.step,
            "stage_end": stage_end,
            "processes": self.world.size,
            "zero_stage": settings.zero_stage,
            "precision": settings.precision,
            "fingerprint": self.plan.fingerprint,
            "place": self.place.as_json(),
        }
        return checkpoint.save(self.engine, self.checkpoints, state, self.config.run.keep_checkpoints)

    def _validate(self, stage: Stage, validator: Validator) -> None:
        run = self.config.run_of(self.place.stage)
        measured = validator.measure(self.engine, run.micro_batch, self.groups.rank, self.groups.size, self.groups.share)
        if self.log and measured:
            self.log.write("validation", self.place.step, stage=stage.name, **measured)
            self.watch.say(f"{stage.name}  step {self.place.step:,}  held out: {', '.join(languages_of(measured))}")

    def _log_step(self, stage: Stage, data: StageData, stretch: Stretch, rate: float, result: StepResult) -> None:
        speed = stretch.tokens / stretch.seconds
        mfu = None if self.peak is None else speed * flops_per_token(stage.model, stage.length) / self.peak
        memory, sums = peak_memory(self.world), stretch.sums
        skipped, over = stretch.skipped, stretch.steps
        stretch.clear()
        if not self.log:
            return
        facts = {"stage": stage.name, "stage_step": self.place.stage_step, "tokens": self.place.tokens, "loss": result.loss}
        facts |= {"learning_rate": rate, "grad_norm": result.grad_norm, "skipped": skipped, "over_steps": over}
        facts |= by_stream_and_language(sums, data.labels)
        line = self.log.write("step", self.place.step, **facts, tokens_per_second=speed, mfu=mfu, peak_memory_bytes=memory)
        self.watch.step(self.place.stage_step, line)

    def event(self, step: int, text: str, **facts: Any) -> None:
        """Something out of the ordinary, said and logged once."""
        if self.log:
            self.log.write("event", step, text=text, **facts)
            self.watch.say(text)

    def _say_start(self) -> None:
        total = sum(stage.tokens for stage in self.plan.stages)
        model = f"{count(self.plan.model.parameters)} parameters, {count(total)} tokens in {len(self.plan.stages)} stages"
        how = f"{self.world.size} x {self.world.device.type}, ZeRO {self.engine.settings.zero_stage}, {self.engine.settings.precision}"
        place = f", from step {self.place.step:,}" if self.place.step else ""
        self.watch.say(f"{self.plan.name}: {model}; {how}{place}")
        if self.log:
            self.log.write("event", self.place.step, text="start", processes=self.world.size, mfu_formula=MFU_FORMULA, peak=self.peak)


class Stretch:
    """What adds up between two lines of the log."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self.sums: Sums | None = None
        self.tokens = self.steps = self.skipped = 0
        self._begun = time.monotonic()

    def add(self, result: StepResult, tokens: int) -> None:
        """One step."""
        self.sums = result.sums if self.sums is None else self.sums + result.sums
        self.tokens, self.steps, self.skipped = self.tokens + tokens, self.steps + 1, self.skipped + result.skipped

    @property
    def seconds(self) -> float:
        """Since the last line."""
        return max(time.monotonic() - self._begun, 1e-9)
