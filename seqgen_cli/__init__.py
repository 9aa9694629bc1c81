"""seqgen: trains models that generate or classify sequences."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seqgen_cli.tasks.loading import load as load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    """`load` on first use: importing seqgen_cli alone does not import torch."""
    if name == "load":
        from seqgen_cli.tasks.loading import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
