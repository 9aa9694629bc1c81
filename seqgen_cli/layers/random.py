"""Counter-based random numbers: a value depends only on its key, never on who draws it or in which order.

Objectives and output layers draw what they need from (seed, update, example, position), so the number of ranks,
accumulation, batch order and resuming change nothing. The mixer is a 64-bit finaliser (Stafford's variant 13 of
MurmurHash3's, as in SplitMix64; Steele, Lea and Flood 2014) applied once for each part of the counter.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from seqgen_cli.runtime.devices import sum_dtype

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


def _signed(value: int) -> int:
    """The int64 with the same bits as the unsigned `value` mod 2^64."""
    value &= _MASK
    return value - (1 << 64) if value >> 63 else value


def _mix_int(value: int) -> int:
    value &= _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def _shift_right(value: Tensor, bits: int) -> Tensor:
    """Logical (unsigned) shift of int64."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)


def _mix(value: Tensor) -> Tensor:
    value = (value ^ _shift_right(value, 30)) * _signed(0xBF58476D1CE4E5B9)
    value = (value ^ _shift_right(value, 27)) * _signed(0x94D049BB133111EB)
    return value ^ _shift_right(value, 31)


@dataclass(frozen=True)
class Key:
    """Names a family of random numbers, e.g. Key.of(seed, update, "replace inputs")."""

    state: int

    @staticmethod
    def of(*parts: int | str) -> Key:
        """The key of these parts, in this order."""
        key = Key(0)
        for part in parts:
            key = key.fold(part)
        return key

    def fold(self, part: int | str) -> Key:
        """The key one level down: a purpose, an update, a pass."""
        number = int.from_bytes(part.encode(), "little") if isinstance(part, str) else part
        state = self.state
        while True:  # long names in 64-bit pieces
            state = _mix_int(state + _GOLDEN + _mix_int(number & _MASK))
            number >>= 64
            if number in (0, -1):
                return Key(state)

    def bits(self, *counters: Tensor) -> Tensor:
        """Uniform 64-bit integers (int64), of the counters' broadcast shape; each counter is an int64 tensor."""
        value = torch.full((), _signed(self.state), dtype=torch.int64, device=counters[0].device)
        for counter in counters:
            value = _mix(value + _signed(_GOLDEN) + _mix(counter))
        return value

    def high_bits(self, count: int, *counters: Tensor) -> Tensor:
        """Uniform integers in [0, 2^count), count < 64, of the counters' broadcast shape."""
        return _shift_right(self.bits(*counters), 64 - count)

    def uniform(self, *counters: Tensor) -> Tensor:
        """Uniform numbers in (0, 1), of the counters' broadcast shape, centred in their cells: 52 bits in float64, or, where
        the device has none, 23 in float32 (with one more, the last cell's centre would round to 1)."""
        dtype = sum_dtype(counters[0].device)
        count = 52 if dtype == torch.float64 else 23
        return (self.high_bits(count, *counters).to(dtype) + 0.5) * 2.0**-count
