"""One gradient step: scale, clip, check, step, for the parameters of one Update.

The global norm tells whether any gradient is non-finite. Optimizers with torch's fused step (and any that declares
`_step_supports_amp_scaling`, as torch's GradScaler reads it) take the answer on the device and skip themselves, so the
host never waits (but row-sparse Adam waits all the same, to see which rows were touched). Any other optimizer costs one
host-device synchronisation an update.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from seqgen_cli.errors import RequestError
from seqgen_cli.layers.rows import coalesced
from seqgen_cli.runtime.meters import section


class GradientStep:
    """Backward and step of a set of optimizers with disjoint parameters.

    Args:
        optimizers: each group's `lr` when this is built is the learning rate at schedule factor 1.
        clip_norm: largest global norm of the gradient; None: not clipped.
        device: where the parameters are.
        scaled: fp16 autocast, whose small gradients need a scaled loss (torch.amp.GradScaler).
    """

    def __init__(
        self, optimizers: Sequence[Optimizer], clip_norm: float | None, device: torch.device, scaled: bool = False
    ) -> None:
        self.optimizers = list(optimizers)
        self.clip_norm = clip_norm
        self.scaler = torch.amp.GradScaler(device.type, enabled=scaled)
        self.parameters = [parameter for group in self.groups for parameter in group["params"]]
        for group in self.groups:
            group.setdefault("initial_lr", group["lr"])

    @property
    def groups(self) -> list[dict[str, Any]]:
        """The optimizers' parameter groups as they are now: loading a state replaces them."""
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of `loss` to the parameters'."""
        self.scaler.scale(loss).backward()

    def step(self, factor: float) -> tuple[Tensor, Tensor]:
        """Step at `factor` times the initial learning rates, unless a gradient is not finite; then clear the gradients.

        Returns the norm of the gradient before clipping, and 1.0 where the step was skipped, else 0.0: scalars on the device.
        """
        with section("update"):
            return self._step(factor)

    def _step(self, factor: float) -> tuple[Tensor, Tensor]:
        for optimizer in self.optimizers:
            self.scaler.unscale_(optimizer)
        gradients = [_values(parameter) for parameter in self.parameters if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients, foreach=True)
        skipped = norm.isfinite().logical_not().float()
        if self.clip_norm is not None and gradients:
            torch._foreach_mul_(gradients, (self.clip_norm / (norm + 1e-6)).clamp(max=1.0))
        for group in self.groups:
            group["lr"] = group["initial_lr"] * factor
        for optimizer in self.optimizers:
            _step_unless(optimizer, skipped)
            optimizer.zero_grad(set_to_none=True)
        if self.scaler.is_enabled():
            self.scaler.update()
        return norm, skipped

    def state_dict(self) -> dict[str, Any]:
        """The optimizers' moments and the loss scale."""
        return {"optimizers": [optimizer.state_dict() for optimizer in self.optimizers], "scaler": self.scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the moments; learning rate, decay and other settings stay as configured now.

        Raises:
            RequestError: the moments belong to other parameters or to another optimizer.
        """
        try:
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                settings = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
                if [set(group) for group in optimizer.param_groups] != [set(group) for group in saved["param_groups"]]:
                    raise ValueError("other settings")
                optimizer.load_state_dict(saved)
                for group, own in zip(optimizer.param_groups, settings, strict=True):
                    group.update(own)
        except ValueError as error:
            raise RequestError(
                f"The checkpoint's optimizer state does not fit this run's optimizer ({error}). Use the optimizer it was trained "
                "with, or init_from= to start from its weights alone."
            ) from error
        if self.scaler.is_enabled() and state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])


def _values(parameter: nn.Parameter) -> Tensor:
    """The gradient, to be changed in place; of a row-sparse one the values, each row once."""
    assert parameter.grad is not None
    if not parameter.grad.is_sparse:
        return parameter.grad
    parameter.grad = coalesced(parameter.grad)
    return parameter.grad._values()


def _step_unless(optimizer: Optimizer, skipped: Tensor) -> None:
    """Step, unless `skipped` holds 1."""
    if getattr(optimizer, "_step_supports_amp_scaling", False):
        vars(optimizer).update(grad_scale=None, found_inf=skipped)
        optimizer.step()
    elif not skipped.item():
        optimizer.step()
