"""The training loop: every due update on one accumulation group of batches.

It knows summed losses and their counts, and nothing of what a batch holds. Each term is divided once, by its count over
all micro-batches of the group and all ranks, so accumulation and data parallelism leave the gradient exactly what one
big batch gives. Sums stay on the device until someone reads them.

Torch's global generator (dropout) is seeded at every step from (seed, update, rank): a resumed run draws what it would
have drawn, whatever evaluation or decoding drew in between.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from seqgen_cli.errors import SeqgenError
from seqgen_cli.layers.random import Key
from seqgen_cli.objectives.base import Progress, Schedule, Update, UpdateModule
from seqgen_cli.runtime import devices
from seqgen_cli.training.step import GradientStep

MAX_SKIPPED = 20
"""Updates in a row that may be skipped for a non-finite gradient (fp16 finding its loss scale needs up to 16)."""


class Machine(Protocol):
    """What the loop asks of the runtime."""

    @property
    def device(self) -> torch.device: ...
    @property
    def rank(self) -> int: ...
    @property
    def world_size(self) -> int: ...
    @property
    def precision(self) -> str: ...
    def autocast(self) -> AbstractContextManager[Any]: ...
    def all_sum(self, sums: dict[str, Tensor]) -> dict[str, Tensor]:
        """The sums over all ranks, on the device, without waiting for it."""
        ...

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module under DistributedDataParallel where there are several ranks."""
        ...


class Sums(Mapping[str, float]):
    """Named sums that stay on their device until one is read."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = tensors

    def __getitem__(self, name: str) -> float:
        return float(self.tensors[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)


class _Stage:
    """An Update made ready to run: wrapped for several ranks, its step, and the parameters that only others may move.

    schedule, clip_norm: the run's, for an update that has none of its own.
    """

    def __init__(
        self, update: Update, everyone: Sequence[Update], machine: Machine, schedule: Schedule, clip_norm: float | None
    ) -> None:
        self.update = update
        self.schedule = schedule if update.schedule is None else update.schedule
        clip_norm = clip_norm if update.clip_norm is None else update.clip_norm
        self.prefix = "" if len(everyone) == 1 else f"{update.name}."
        self._counts = cast(UpdateModule, update.module).counts
        self.step = GradientStep(update.optimizers, clip_norm, machine.device, scaled=machine.precision == "fp16")
        own = set(self.step.parameters)
        self.others = list({parameter: None for other in everyone for parameter in _parameters(other) if parameter not in own})
        with self.others_frozen():  # DistributedDataParallel looks at what needs a gradient when it is built
            self.module = machine.wrap(update.module)

    @contextmanager
    def others_frozen(self) -> Iterator[None]:
        moving = [parameter for parameter in self.others if parameter.requires_grad]
        for parameter in moving:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in moving:
                parameter.requires_grad_(True)

    def without_exchange(self) -> AbstractContextManager[Any]:
        """Keeps the gradient on this rank, for all but the last micro-batch."""
        if isinstance(self.module, nn.parallel.DistributedDataParallel):
            return self.module.no_sync()
        return nullcontext()

    def counts(self, group: Sequence[Any]) -> dict[str, float]:
        """The group's count for each term, on this rank."""
        totals: dict[str, float] = {}
        for batch in group:
            for name, count in self._counts(batch).items():
                totals[name] = totals.get(name, 0) + count
        return totals


class Loop:
    """Trains by steps; what to log, evaluate and save between them is the caller's.

    Args:
        updates: as the objective lists them.
        stream: this rank's batches without end. A batch has `.to(device)`; nothing else is asked of it here.
        machine: device, precision, and the exchange between ranks.
        schedule: the factor of the learning rate at each step, where an update has none of its own.
        seed: of the run.
        accumulate: micro-batches a step, on each rank.
        clip_norm: largest global gradient norm of an update that does not say; None: not clipped.
    """

    def __init__(
        self,
        updates: Sequence[Update],
        stream: Iterable[Any],
        machine: Machine,
        schedule: Schedule,
        *,
        seed: int,
        accumulate: int = 1,
        clip_norm: float | None = None,
    ) -> None:
        self.update = 0  # steps made
        self.batches = 0  # batches consumed by all ranks
        self.totals: dict[str, Tensor | float] = {}  # counts of all steps
        self.sums: dict[str, Tensor] = {}  # of each update, the last time it was due
        self.window: dict[str, Tensor] = {}  # since the last take_figures
        self.machine, self.seed, self.accumulate = machine, seed, accumulate
        self._stages = [_Stage(update, updates, machine, schedule, clip_norm) for update in updates]
        self._stream = iter(stream)
        self._dtype = devices.sum_dtype(machine.device)  # of sums
        self._streaks = torch.zeros(len(updates), device=machine.device)  # of skipped steps, by update

    def step(self) -> None:
        """Make one step: every due update on the next `accumulate` batches."""
        group = [next(self._stream) for _ in range(self.accumulate)]
        moved = [batch.to(self.machine.device) for batch in group]
        devices.seed(self.machine.device, Key.of(self.seed, self.update, "torch", self.machine.rank).state)
        progress = Progress(self.update, Key.of(self.seed, self.update), Sums(self.sums))
        sums: dict[str, Tensor] = {}
        kept: dict[str, Tensor] = {}
        for stage in self._stages:
            if not stage.update.due(self.update):
                kept.update({name: value for name, value in self.sums.items() if name.startswith(stage.prefix)})
                continue
            with stage.others_frozen():
                sums.update(self._run(stage, stage.counts(group), moved, progress))
            if stage.update.after is not None:
                stage.update.after()
        self.sums = kept | sums
        for name, value in sums.items():
            self.window[name] = self.window[name] + value if name in self.window else value
        self.update += 1
        self.batches += self.accumulate * self.machine.world_size

    def _run(self, stage: _Stage, own_counts: dict[str, float], group: Sequence[Any], progress: Progress) -> dict[str, Tensor]:
        """One update; its sums over the group and all ranks."""
        counts = self._over_ranks({name: self._scalar(count) for name, count in own_counts.items()})
        # DistributedDataParallel averages over ranks; the terms are sums.
        for name, count in counts.items():
            # Alone, the host knows the count, and adds up more of them exactly than a device in float32 would.
            more = own_counts[name] if self.machine.world_size == 1 else count
            self.totals[stage.prefix + name] = self.totals.get(stage.prefix + name, 0.0) + more
        weights = {name: self.machine.world_size / torch.where(count > 0, count, 1.0) for name, count in counts.items()}
        sums: dict[str, Tensor] = {}
        for number, batch in enumerate(group, start=1):
            with ExitStack() as stack:
                if number < len(group):
                    stack.enter_context(stage.without_exchange())
                with self.machine.autocast():
                    loss = stage.module(batch, progress)
                stage.step.backward(torch.stack([term * weights[name] for name, term in loss.terms.items()]).sum())
            terms = {f"term.{name}": term for name, term in loss.terms.items()}
            for name, value in {**terms, **loss.metrics}.items():
                sums[name] = sums.get(name, self._scalar(0)) + value.detach()
        norm, skipped = stage.step.step(stage.schedule.factor(self.update))
        streak = self._streaks[self._stages.index(stage)]
        streak.add_(skipped).mul_(skipped)
        sums = self._over_ranks(sums) | counts | {"updates": self._scalar(1), "grad_norm": norm.to(self._dtype)}
        # A skipped update leaves no trace in the sums but that it was skipped.
        sums = {name: torch.where(skipped > 0, 0.0, value) for name, value in sums.items()} | {"skipped": skipped.to(self._dtype)}
        return {stage.prefix + name: value for name, value in sums.items()}

    def _scalar(self, value: float) -> Tensor:
        return torch.tensor(value, dtype=self._dtype, device=self.machine.device)

    def _over_ranks(self, sums: dict[str, Tensor]) -> dict[str, Tensor]:
        return self.machine.all_sum(sums) if self.machine.world_size > 1 else sums

    def take_figures(self) -> dict[str, float]:
        """Means since the last call, for the log; waits for the device.

        `loss` is the sum over terms of term / count. A metric is divided by the count of the update's first term, or by `c`
        where it is named "metric/c". The gradient's norm is a mean over updates. With several updates the names start with
        theirs.

        Raises:
            SeqgenError: the last MAX_SKIPPED updates were all skipped.
        """
        window, self.window = {name: float(value) for name, value in self.window.items()}, {}
        self.check_skipped(MAX_SKIPPED)
        figures: dict[str, float] = {}
        for stage in self._stages:
            own = {name.removeprefix(stage.prefix): value for name, value in window.items() if name.startswith(stage.prefix)}
            counts = {name.removeprefix(stage.prefix) for name in self.totals if name.startswith(stage.prefix)}
            figures |= {stage.prefix + name: value for name, value in _means(own, counts).items()}
        return figures

    def check_skipped(self, allowed: int) -> None:
        """Refuse to go on after so many skipped updates in a row; waits for the device.

        Raises:
            SeqgenError: they were all skipped, for gradients that are not finite.
        """
        if (streak := int(self._streaks.max())) >= allowed > 0:
            updates = "update was" if streak == 1 else f"{streak} updates were all"
            raise SeqgenError(
                f"The last {updates} skipped, up to update {self.update}, for a gradient that is not finite. "
                "Lower optimizer.lr, set trainer.clip_norm, or use runtime.precision=fp32 or bf16."
            )

    @property
    def learning_rates(self) -> dict[str, float]:
        """`lr` of the last step, of the first group of each update."""
        return {f"{stage.prefix}lr": stage.step.groups[0]["lr"] for stage in self._stages}

    @property
    def read(self) -> dict[str, int]:
        """What was read so far, in the first count of the update that has read most: {"tokens": n} or {"texts": n}; nothing
        before the first. Waits for the device."""
        most: dict[str, int] = {}
        for stage in self._stages:
            totals = [(name, total) for name, total in self.totals.items() if name.startswith(stage.prefix)]
            for name, total in totals[:1]:
                if int(total) > max(most.values(), default=-1):
                    most = {name.removeprefix(stage.prefix): int(total)}
        return most

    def state_dict(self) -> dict[str, Any]:
        """Everything but the weights that a resumed loop needs; tensors and plain types."""
        return {
            "update": self.update,
            "batches": self.batches,
            "totals": self.totals,
            "sums": self.sums,
            "window": self.window,
            "streak": self._streaks.clone(),
            "steps": [stage.step.state_dict() for stage in self._stages],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.update, self.batches = state["update"], state["batches"]
        self.sums, self.window = (
            {name: value.to(self.machine.device) for name, value in state[kind].items()} for kind in ("sums", "window")
        )
        alone = self.machine.world_size == 1
        self.totals = {name: float(value) if alone else self._scalar(float(value)) for name, value in state["totals"].items()}
        self._streaks = state["streak"].reshape(-1).to(self.machine.device)  # one number in checkpoints of before
        for stage, saved in zip(self._stages, state["steps"], strict=True):
            stage.step.load_state_dict(saved)


def _parameters(update: Update) -> Iterator[nn.Parameter]:
    for optimizer in update.optimizers:
        for group in optimizer.param_groups:
            yield from group["params"]


def _means(sums: dict[str, float], counts: Set[str]) -> dict[str, float]:
    """`Loop.take_figures` for the sums of one update, some of which are `counts`; empty when it was not due."""
    if "updates" not in sums:
        return {}
    updates = sums.pop("updates")
    if not updates:  # all were skipped: there is nothing to take a mean of
        return {"loss": math.nan, "skipped": sums["skipped"]}
    terms = {name.removeprefix("term."): value for name, value in sums.items() if name.startswith("term.")}
    figures = {"loss": sum(value / (sums[name] or 1.0) for name, value in terms.items())}
    for name, value in sums.items():
        metric, _, count = name.partition("/")
        if name == "skipped":
            figures[name] = value
        elif name == "grad_norm":
            figures[name] = value / updates
        elif name not in counts and not name.startswith("term."):
            figures[metric] = value / (sums[count or next(iter(terms))] or 1.0)
    return figures
