"""The training: stage after stage, from the newest checkpoint to the end of the plan.

The state is `Place` and what a checkpoint holds; everything else follows from the plan. So the same command goes on after any end, and a
training that was interrupted has the losses of one that wasn't, to the bit where the number of processes is the same.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.report import text
from training import checkpoint
from training.engine import Engine, EngineSettings, new_model
from training.launch import World, on_first, together
from training.loader import micro_batches
from training.metrics import MFU_FORMULA, Log, peak_of, refuse_missing
from training.place import Place
from training.plan import Plan
from training.plan_config import PlanConfig
from training.run_folder import CHECKPOINTS, INDEX, LOG
from training.sequence_groups import SequenceGroups
from training.stage_run import StageRun
from training.token_bytes import byte_lengths
from training.watch import Watch

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
"""Each asks for a checkpoint and an end; batch systems send the last one some minutes before the first."""


class Trainer:
    """One process's part of a training: engine, place and log. config.run and config.guard say how, the plan says what."""

    def __init__(self, config: PlanConfig, plan: Plan, run: Path, world: World, watch: Watch) -> None:
        """Raises UserError for what can't work, before the first step."""
        self.config, self.plan, self.run, self.world, self.watch = config, plan, run, world, watch
        self.checkpoints, self.cache = run / CHECKPOINTS, run / INDEX
        self.groups, self.peak = SequenceGroups(world), peak_of(world)
        self._byte_lengths = byte_lengths(Path(plan.tokenizer), plan.model.vocab_size)
        self._begun, self._stop, self.rewinds = time.monotonic(), False, 0
        on_first(world, self._check)
        self.engine, self.place = self._start()
        self.log: Log | None = None
        if world.first:
            board = run / "tensorboard" if config.run.tensorboard else None
            self.log = Log(run / LOG, self.place.step, board, config.run.wandb_project, plan.name)

    def train(self) -> Place:
        """To the end of the plan. Raises RunFailed where it ends earlier."""
        with self._signals():
            try:
                self._say_start()
                while self.place.stage < len(self.plan.stages):
                    if StageRun(self).to_its_end():
                        self.save(stage_end=True)
            finally:
                self.watch.end()
                if self.log:
                    self.log.close()
        return self.place

    @property
    def stop_wanted(self) -> bool:
        """Whether this process has been asked to end, or its time is over. With the next step all processes get to know."""
        limit = self.config.run.max_minutes
        return self._stop or (limit is not None and time.monotonic() - self._begun >= 60 * limit)

    def save(self, stage_end: bool = False) -> Path:
        """Write a checkpoint of the current place."""
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

    def rewind(self, past: int) -> None:
        """Back to the newest checkpoint, which is of the same stage, and from there on without the samples before `past`."""
        self.rewinds += 1
        self.engine.close()
        self.engine, self.place = self._start()
        stage = self.plan.stages[self.place.stage]
        first = self.place.samples_read(stage.batch_samples)
        self.place = replace(self.place, skips=(*self.place.skips, (first, past)))
        if self.log:
            self.log.cut(self.place.step)
        where = f"back to step {self.place.step:,}, without the samples {first:,} to {past - 1:,} of stage '{stage.name}'"
        self.event(self.place.step, where, steps=(past - first) // stage.batch_samples)

    def event(self, step: int, text: str, **facts: Any) -> None:
        """Something out of the ordinary, said and logged once."""
        if self.log:
            self.log.write("event", step, text=text, **facts)
            self.watch.say(text)

    def _check(self) -> None:
        refuse_missing(self.config.run.tensorboard, self.config.run.wandb_project)
        for index, stage in enumerate(self.plan.stages):
            run = self.config.run_of(index)
            self.groups.check(stage, run.sequence_parallel)
            micro_batches(0, stage.batch_samples, run.micro_batch, 0, self.world.size // run.sequence_parallel)

    def _start(self) -> tuple[Engine, Place]:
        """The engine with the newest checkpoint, or with first weights."""
        found = on_first(self.world, lambda: next(reversed(checkpoint.all_of(self.checkpoints)), None))
        state = checkpoint.read_state(found) if found else None
        settings = self._engine_settings(state)
        initial = Path(self.plan.initial) if self.plan.initial and not found else None
        model = new_model(self.plan.model, self.plan.seed, settings, self.world, initial)
        universal = state is not None and state["processes"] != self.world.size
        engine = Engine(model, self.plan.optimizer, settings, self.world, self._byte_lengths, universal)
        if found is None or state is None:
            on_first(self.world, lambda: checkpoint.refuse_without_room(self.checkpoints, checkpoint.bytes_of(engine)))
            return engine, Place()
        checkpoint.verify(found, self.world)
        checkpoint.load(engine, found)
        return engine, Place.from_json(state["place"])

    def _engine_settings(self, state: dict[str, Any] | None) -> EngineSettings:
        run = self.config.run
        precision = run.precision
        if precision == "auto":
            precision = "bf16" if self.world.device.type == "cuda" else "fp32"
        settings = EngineSettings(run.zero_stage, precision, run.micro_batch)
        for key in ("zero_stage", "precision"):
            if state is not None and state[key] != (now := getattr(settings, key)):
                text = f"the checkpoints in '{self.run}' have {key} {state[key]}, and run.{key} now comes to {now}; set it back"
                raise together(self.world, UserError(text))
        return settings

    def _say_start(self) -> None:
        tokens, settings = sum(stage.tokens for stage in self.plan.stages), self.engine.settings
        size = text.short_count(self.plan.model.parameters)
        what = f"{size} parameters, {text.short_count(tokens)} tokens in {len(self.plan.stages)} stages"
        how = f"{self.world.size} x {self.world.device.type}, ZeRO {settings.zero_stage}, {settings.precision}"
        self.watch.say(f"{self.plan.name}: {what}; {how}" + (f"; on from step {self.place.step:,}" if self.place.step else ""))
        if self.log:
            facts = {"processes": self.world.size, "zero_stage": settings.zero_stage, "precision": settings.precision}
            self.log.write("start", self.place.step, **facts, mfu_formula=MFU_FORMULA, peak=self.peak)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():  # as in a worker of Ray Train, which gets none
            yield
            return

        def wanted(*_: Any) -> None:
            self._stop = True

        before = {number: signal.signal(number, wanted) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
