"""A training run in progress: its networks, loop, moving average and journal; what it saves, and how it goes on from that."""

import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seqgen_cli.checkpoints import weights, writing
from seqgen_cli.checkpoints.folder import kept_config
from seqgen_cli.checkpoints.manifest import Manifest
from seqgen_cli.config.checked import Config
from seqgen_cli.data.batching import TrainStream
from seqgen_cli.data.dataset import Prepared
from seqgen_cli.data.tokenizers.pair import save_pair
from seqgen_cli.errors import RequestError, SeqgenError, join_or
from seqgen_cli.objectives.base import Advisor
from seqgen_cli.report.tables import count
from seqgen_cli.runtime import devices
from seqgen_cli.runtime.meters import PeakMemory
from seqgen_cli.tasks.validation import Trained
from seqgen_cli.training.ema import MovingAverage
from seqgen_cli.training.journal import Bar, Journal
from seqgen_cli.training.loop import MAX_SKIPPED
from seqgen_cli.training.setup import make_loop, make_networks, settle_for_training
from seqgen_cli.training.start import Start
from seqgen_cli.training.trainer import Trainer, Watch

_log = logging.getLogger(__name__)

_AGREE_EVERY = 10  # updates between the ranks' agreements on what only one of them may know (time, signals)


class Session:
    """Everything a run is made of, started anew or where its checkpoint left it.

    Args:
        config: of the run, its runtime started.
        start: the run's folder, and the checkpoint to start or go on from.
        prepared: the data.

    Raises:
        RequestError: the checkpoint fits neither the data nor the settings.
    """

    def __init__(self, config: Config, start: Start, prepared: Prepared) -> None:
        self.config, self.start, self.prepared = config, start, prepared
        self.runtime, self.task = config.runtime, config.task
        state = weights.read_state(start.resume) if start.resume else None
        self.processes: int = (state or {}).get("processes", self.runtime.world_size)  # a checkpoint of before has none
        self.trainer = self._same_batches(config.trainer)
        trainer, runtime = self.trainer, self.runtime
        self.memory = PeakMemory(runtime.device)  # of the networks and the updates, not of data or validation
        if state is not None:
            start.check_data(state["fingerprint"], prepared.fingerprint)
        runtime.seed(config.seed)  # preparing may have drawn random numbers
        self.model, self.output, self.objective = make_networks(config, prepared)
        start.load({"model": self.model, "output": self.output})
        self.objective.to(runtime.device).train()
        kept = state.get("precision") if state else None  # a checkpoint of before has none
        settle_for_training(config, self.model, self.output, prepared.splits["train"], kept)
        if runtime.compile:
            self.model.hidden_states = torch.compile(self.model.hidden_states, dynamic=True)
        self.task.encode_once(config, self.model, runtime, prepared, ("train", "valid"))
        self._make_loop(state["loop"]["batches"] if state else 0)
        if why := self.validation.undefined().get(trainer.best_metric):
            raise RequestError(f"trainer.best_metric={trainer.best_metric} is not defined on the validation split: {why}.")
        self.watch = Watch(trainer.best_metric, self.task.higher_is_better(trainer.best_metric))
        self.average = self._moving_average(0)
        self.figures: dict[str, float] = {}  # of the last validation
        self.validated = 0  # its update
        self._before = 0.0  # seconds, before this process
        self._clock = time.monotonic()
        if state is not None:
            self._load_state(state)
        self.spent = self._budget_spent()
        self._speed_since = (self.seconds, self.loop.read)
        self.journal = Journal(start.run, self.loop.update, trainer.tensorboard, runtime.is_main)
        self.bar = Bar(self.total_updates, self.loop.update, trainer.progress, runtime.is_main)
        self.advisor: Advisor | None = getattr(self.objective, "advisor", None)
        if self.advisor is not None and state is None:
            self._warn(self.advisor.at_start(start.init is None, trainer.best_metric))

    def _same_batches(self, trainer: Trainer) -> Trainer:
        """The trainer under which as many batches make an update as under the number of processes that began the run."""
        now, whole = self.runtime.world_size, self.processes * trainer.accumulate
        if now == self.processes:
            return trainer
        began = f"The run was begun by {self.processes} process{'es' * (self.processes > 1)}, and {now} go{'es' * (now == 1)} on"
        if whole % now:
            fitting = join_or([str(number) for number in range(1, whole + 1) if whole % number == 0])
            raise RequestError(f"{began}, which cannot share the {whole} batches of an update evenly. Go on with {fitting}.")
        if self.runtime.is_main:
            _log.info(
                f"{began}: each reads {whole // now} batch{'es' * (whole > now)} an update, so that updates see the same {whole}."
            )
        return replace(trainer, accumulate=whole // now)

    def _warn(self, lines: Sequence[str | None]) -> None:
        for line in lines:
            if line is not None and self.runtime.is_main:
                _log.warning(line)

    def _make_loop(self, batches: int) -> None:
        """The loop after `batches` batches, and the validation beside it."""
        config, trainer, runtime = self.config, self.trainer, self.runtime
        train, pin = self.prepared.splits["train"], devices.has_own_memory(runtime.device)
        stream = TrainStream(train, config.batching, config.seed, runtime.rank, runtime.world_size, batches, runtime.workers, pin)
        self.updates_per_epoch = trainer.updates_per_epoch(stream.batches_per_epoch, runtime.world_size)
        self.total_updates = trainer.total_updates(self.updates_per_epoch)
        self.loop = make_loop(config, self.objective, self.output, stream, self.total_updates, trainer, _log.info)
        trained = Trained(self.prepared, self.model, self.output, self.objective, config.batching, runtime)
        self.validation = self.task.validation(config, trained)

    def _moving_average(self, updates: int) -> MovingAverage | None:
        if self.trainer.ema_decay is None:
            return None
        trained = [each for each in [*self.model.parameters(), *self.output.parameters()] if each.requires_grad]
        return MovingAverage(trained, self.trainer.ema_decay, updates)

    def _load_state(self, state: dict[str, Any]) -> None:
        if (state["raw"] is None) != (self.average is None):
            raise RequestError("trainer.ema_decay cannot be switched on or off in a run under way. Start anew with fresh=true.")
        if state["raw"] is not None:  # the weights loaded first are the average
            self.average = self._moving_average(state["average_updates"])
            weights.load_weights({"model": self.model, "output": self.output}, state["raw"], str(self.start.resume))
        weights.load_state(self._own_state(), state["objective"], self.start.resume)
        self.loop.load_state_dict(state["loop"])
        self.watch = Watch(**state["watch"])
        self._before, self.validated, self.figures = state["seconds"], state["validated"], state["figures"]

    def state_dict(self) -> dict[str, Any]:
        """What going on exactly needs beyond the weights for inference: tensors and plain types."""
        raw = weights.network_weights(self.model, self.output) if self.average else None
        return {
            "loop": self.loop.state_dict(),
            "objective": self._own_state(),
            "raw": raw and {name: tensor.clone() for name, tensor in raw.items()},
            "average_updates": self.average.updates if self.average else 0,
            "watch": asdict(self.watch),
            "seconds": self.seconds,
            "validated": self.validated,
            "figures": self.figures,
            "fingerprint": self.prepared.fingerprint,
            "precision": self.runtime.precision,
            "processes": self.processes,
        }

    def _own_state(self) -> dict[str, Tensor]:
        """The objective's parameters and buffers beyond those of the networks that it trains."""
        shared = {id(tensor) for network in (self.model, self.output) for tensor in network.state_dict(keep_vars=True).values()}
        others = self.objective.state_dict(keep_vars=True).items()
        return {name: tensor.detach() for name, tensor in others if id(tensor) not in shared}

    @property
    def seconds(self) -> float:
        """Time of training and validation, over all resumptions."""
        return self._before + time.monotonic() - self._clock

    @property
    def over(self) -> bool:
        """Whether a budget is spent or patience has run out."""
        return self.spent or self.out_of_patience

    @property
    def out_of_patience(self) -> bool:
        return self.trainer.patience is not None and self.watch.bad >= self.trainer.patience

    def _budget_spent(self) -> bool:
        if self.total_updates is not None and self.loop.update >= self.total_updates:
            return True
        return self.trainer.minutes is not None and self.agreed(self.seconds >= 60 * self.trainer.minutes)

    def agreed(self, wanted: bool) -> bool:
        """Whether any rank wants it; several ranks ask each other now and then only, since they must wait for it."""
        if self.runtime.world_size == 1:
            return wanted
        return self.loop.update % _AGREE_EVERY == 0 and self.runtime.all_sum({"wanted": int(wanted)})["wanted"] > 0

    def step(self) -> None:
        """One update."""
        with self.memory:
            self.loop.step()
            if self.average is not None:
                self.average.update()
        self.bar.step()
        self.spent = self._budget_spent()

    @property
    def validation_due(self) -> bool:
        """Whether this update is to be validated and was not yet."""
        update, every = self.loop.update, self.trainer.evaluate_every
        new_epoch = int(update / self.updates_per_epoch) > int((update - 1) / self.updates_per_epoch)
        due = self.over or (update % every == 0 if every else new_epoch)
        return due and 0 < update != self.validated

    def log(self) -> None:
        """Write the training figures since the last time, if any."""
        figures = self.loop.take_figures()
        if not figures:
            return
        seconds, seen, before = self.seconds, self.loop.read, self._speed_since
        name, total = next(iter(seen.items()))
        speed = (total - before[1].get(name, 0)) / max(1e-9, seconds - before[0])
        self._speed_since = (seconds, seen)
        epoch = self.loop.update / self.updates_per_epoch
        rest = {**self.loop.learning_rates, "epoch": epoch, "seconds": seconds, f"{name}_per_second": speed}
        self.journal.write(self.loop.update, {**seen, **figures, **rest})
        if self.advisor is not None:
            self._warn([self.advisor.see(figures)])
        losses = ", ".join(f"{key} {value:.4f}" for key, value in figures.items() if key.endswith("loss"))
        left = f", {max(0.0, self.trainer.minutes - seconds / 60):.0f} min left" if self.trainer.minutes else ""
        self.bar.show(self.loop.update, f"{losses}, epoch {epoch:.2f}, {count(speed)} {name}/s{left}")

    def validate(self, check: Callable[[], None] = lambda: None) -> None:
        """Measure the weights to use on the validation set, and write it down. `check` may raise in between."""
        if self.over:
            self.loop.check_skipped(min(MAX_SKIPPED, self.loop.update))
        place = self.start.run / "samples" / f"step-{self.loop.update}.txt"
        with self.in_average():
            figures = self.validation.likelihood(check)
            figures |= self.validation.quality(place)
        best = self.watch.see(figures, self.loop.update)
        if math.isnan(figures[self.watch.metric]):
            self._warn([f"update {self.loop.update}: {self.watch.metric} is not a number, so these weights cannot be the best."])
        self.figures, self.validated = figures, self.loop.update
        self.journal.write(self.loop.update, {**self.loop.read, **{f"valid_{name}": value for name, value in figures.items()}})
        text = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
        self.bar.show(self.loop.update, f"validation: {text}{' (best so far)' if best else ''}", always=True)

    def save(self) -> Path:
        """Write a checkpoint of this update, and remove those no longer kept.

        Raises:
            SeqgenError: the weights are not finite: what was kept before stays.
        """
        folder = self.start.run / "checkpoints" / f"step-{self.loop.update}"
        self._check_weights()
        if self.runtime.is_main:
            self.write_checkpoint(folder, self.figures if self.validated == self.loop.update else {}, self.state_dict())
            writing.keep(folder.parent, self.trainer.keep_last, self.trainer.keep_best)
        self.runtime.barrier()
        return folder

    def _check_weights(self) -> None:
        parameters = [*self.model.named_parameters("model"), *self.output.named_parameters("output")]
        if bad := [name for name, parameter in parameters if not parameter.isfinite().all()]:
            kept = sorted((self.start.run / "checkpoints").glob("step-*"), key=lambda path: path.stat().st_mtime)
            last = f"the last good checkpoint is {kept[-1]}" if kept else "no checkpoint was kept"
            raise SeqgenError(
                f"The weights are not finite at update {self.loop.update} ({bad[0]}), so they are not saved; {last}. "
                "Start anew with a lower optimizer.lr or a trainer.clip_norm, or with runtime.precision=fp32 or bf16."
            )

    def write_checkpoint(self, folder: Path, figures: dict[str, float], state: dict[str, Any] | None) -> None:
        """Write the weights to use, with these validation figures."""
        measured = {name: value for name, value in figures.items() if abs(value) < float("inf")}
        manifest = Manifest(self.loop.update, measured, self.watch.metric, self.watch.higher)
        with self.in_average():
            writing.write(
                folder,
                manifest,
                weights=weights.network_weights(self.model, self.output),
                state=state,
                config=kept_config(self.config, self.model),
                save_tokenizers=lambda place: save_pair(place, self.prepared.source_tokenizer, self.prepared.target_tokenizer),
            )

    def in_average(self) -> AbstractContextManager[None]:
        """Inside the block the weights are those to use: the moving average where there is one."""
        return self.average.in_place() if self.average else nullcontext()

    def close(self) -> None:
        """Finish the bar and the journal."""
        self.bar.close()
        self.journal.close()
