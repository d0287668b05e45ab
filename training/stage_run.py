"""One stage of a training: step after step to its end, with what is logged, measured and saved on the way."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.errors import RunFailed
from training.activation import run_layers
from training.batch import Batch
from training.engine import StepResult, Sums
from training.flops import flops_per_token
from training.guard import Guard, Verdict
from training.launch import first_alone, together
from training.loader import batches, open_stage, steps_of
from training.metrics import by_stream_and_language, peak_memory
from training.prefetch import prefetch
from training.rope import frequencies
from training.schedule import learning_rate
from training.validation import Validator, languages_of

if TYPE_CHECKING:
    from training.trainer import Trainer

STEPS_AHEAD = 2
"""Steps whose batches are made while an earlier one is computed."""


class StageRun:
    """The stage at the training's place, from there on."""

    def __init__(self, training: Trainer) -> None:
        self.training, place = training, training.place
        self.stage, self.run = training.plan.stages[place.stage], training.config.run_of(place.stage)
        self._prepare_model()
        self.data = first_alone(training.world, lambda: open_stage(training.plan, place.stage, place.ledger, training.cache))
        self.validator = first_alone(training.world, lambda: Validator(training.plan, place.stage, training.cache))
        guard = training.config.guard
        self.guard = Guard(guard.spike_sigma, guard.window, guard.on_spike, guard.max_skipped, place.losses)
        self.steps = steps_of(self.stage.samples, self.stage.batch_samples, place.skips)
        self.stretch = Stretch()

    def to_its_end(self) -> bool:
        """Train until the stage is over and the place is the next one's beginning. False where the guard sent the training back: then the
        stage is to be run again from the place where it now is."""
        training, stage = self.training, self.stage
        training.watch.begin(stage.name, self.steps, training.place.stage_step)
        groups, rest = training.groups, range(training.place.stage_step, self.steps)
        read = batches(self.data, rest, stage.batch_samples, self.run.micro_batch, groups.rank, groups.size, training.place.skips)
        for mine in prefetch(([groups.share(batch) for batch in step] for step in read), STEPS_AHEAD):
            verdict, result = self._step(mine)
            if verdict is not Verdict.take:
                self._tell(verdict, result)
            if verdict is Verdict.rewind:
                training.rewind(training.place.next_step(0, ()).samples_read(stage.batch_samples))
                return False
            training.place = training.place.next_step(stage.batch_samples * stage.length, self.guard.losses)
            self._after_step(result)
        self._validate()
        used = self.data.used(training.place.samples_read(stage.batch_samples))
        training.place = training.place.next_stage(training.place.ledger.after(stage.name, self.data.streams, used))
        return True

    def _prepare_model(self) -> None:
        engine = self.training.engine
        self.training.groups.use(engine.model, self.run.sequence_parallel)
        run_layers(engine.model, self.run.activation_checkpointing, self.run.compile)
        engine.model.frequencies = frequencies(self.stage.model)
        if self.training.place.stage_step == 0 and not self.stage.keep_optimizer:
            engine.forget_moments()

    def _step(self, mine: list[Batch]) -> tuple[Verdict, StepResult]:
        verdict = Verdict.take

        def accept(loss: float) -> bool:
            nonlocal verdict
            verdict = self.guard.judge(loss)
            return verdict is Verdict.take

        result = self.training.engine.train_step(mine, self._learning_rate(), len(self.data.labels), accept, self.training.stop_wanted)
        if result.skipped and verdict is Verdict.take:
            verdict = self.guard.refused()
        if verdict is Verdict.rewind and self.training.rewinds >= self.training.config.guard.max_skipped:
            verdict = Verdict.stop
        self.stretch.add(result, self.stage.batch_samples * self.stage.length)
        return verdict, result

    def _learning_rate(self) -> float:
        """That of the step that begins: of the tokens up to its end. Samples that are passed over count, so that a stage with fewer steps
        still comes down to its last learning rate."""
        samples = self.training.place.next_step(0, ()).samples_read(self.stage.batch_samples)
        return learning_rate(self.stage.schedule, self.stage.tokens, samples * self.stage.length)

    def _after_step(self, result: StepResult) -> None:
        training, run = self.training, self.run
        step, last = training.place.step, training.place.stage_step == self.steps
        if last or step % run.log_every_steps == 0:
            self._log(result)
        if last:
            return  # the end of the stage measures and saves, and an end that is wanted comes with the next step
        validation = training.config.validation
        if validation and step % validation.every_steps == 0:
            with self.stretch.paused():
                self._validate()
        if result.stop:
            text = f"ended as asked after step {step:,}, saved in '{training.save()}'; run the same command again to go on"
            raise together(training.world, RunFailed(text))
        if step % run.checkpoint_every_steps == 0:
            with self.stretch.paused():
                training.save()

    def _tell(self, verdict: Verdict, result: StepResult) -> None:
        step = self.training.place.step + 1
        what = f"step {step:,} has loss {result.loss:.4g} and gradient norm {result.grad_norm:.4g}"
        self.training.event(step, f"{what}: {verdict.value}", verdict=verdict.value)
        if verdict is Verdict.stop:
            then = "look at log.jsonl, then change `guard` and run the same command again, which goes on from the last checkpoint"
            raise together(self.training.world, RunFailed(f"{what}, which the guard doesn't accept; {then}"))

    def _validate(self) -> None:
        training = self.training
        measured = self.validator.measure(training.engine, self.run.micro_batch, training.groups)
        if training.log and measured:
            training.log.write("validation", training.place.step, stage=self.stage.name, tokens=training.place.tokens, **measured)
            training.watch.say(f"{self.stage.name}  step {training.place.step:,}  held out: {', '.join(languages_of(measured))}")

    def _log(self, result: StepResult) -> None:
        training, stretch, self.stretch = self.training, self.stretch, Stretch()
        speed = stretch.tokens / stretch.seconds
        facts = {"stage": self.stage.name, "stage_step": training.place.stage_step, "tokens": training.place.tokens, "loss": result.loss}
        facts |= {
            "learning_rate": result.learning_rate,
            "grad_norm": result.grad_norm,
            "skipped": stretch.skipped,
            "over_steps": stretch.steps,
        }
        facts |= by_stream_and_language(stretch.sums, self.data.labels) if stretch.sums else {"streams": {}, "languages": {}}
        peak, operations = training.peak, speed * flops_per_token(self.stage.model, self.stage.length)
        facts |= {"tokens_per_second": speed, "mfu": operations / peak if peak else None, "peak_memory_bytes": peak_memory(training.world)}
        if training.log:
            training.watch.step(training.place.stage_step, training.log.write("step", training.place.step, **facts))


class Stretch:
    """What adds up between two lines of the log; of steps that were left out, only their number and tokens."""

    def __init__(self) -> None:
        self.sums: Sums | None = None
        self.tokens = self.steps = self.skipped = 0
        self._begun = time.monotonic()

    def add(self, result: StepResult, tokens: int) -> None:
        """One step."""
        self.tokens, self.steps, self.skipped = self.tokens + tokens, self.steps + 1, self.skipped + result.skipped
        if not result.skipped:
            self.sums = result.sums if self.sums is None else self.sums + result.sums

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """What is done meanwhile doesn't count as training."""
        begun = time.monotonic()
        yield
        self._begun += time.monotonic() - begun

    @property
    def seconds(self) -> float:
        """Since it began, without pauses."""
        return max(time.monotonic() - self._begun, 1e-9)
