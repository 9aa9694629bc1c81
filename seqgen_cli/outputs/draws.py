"""What layers with a structure share in search: excluded words, and a branch drawn by mass.

Shapes: N positions, D hidden, C branches, G words of a group, X words excluded for each row.
"""

import torch
from torch import Tensor, nn

from seqgen_cli.outputs.base import OutputLayer
from seqgen_cli.runtime.devices import least, wide


def excluded(layer: OutputLayer, hidden_ND: Tensor, exclude_NX: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """The excluded words, which entries count (a word named twice counts once), and p of each: (N, X)."""
    if exclude_NX is None:
        exclude_NX = torch.zeros(hidden_ND.shape[0], 0, dtype=torch.int64, device=hidden_ND.device)
    sorted_NX = exclude_NX.sort(dim=1).values
    again_NX = nn.functional.pad(sorted_NX[:, 1:] == sorted_NX[:, :-1], (min(1, exclude_NX.shape[1]), 0))
    word_NX = sorted_NX.clamp_min(0)
    hidden_PD = hidden_ND[:, None].expand(-1, word_NX.shape[1], -1).flatten(0, 1)
    p_NX = wide(layer.score(hidden_PD, word_NX.flatten())).exp().view_as(word_NX)
    return word_NX, (sorted_NX >= 0) & ~again_NX, p_NX


def remaining(p_NC: Tensor, words_C: Tensor, branch_NX: Tensor, here_NX: Tensor, p_NX: Tensor) -> Tensor:
    """Each branch's probability less that of the excluded words in it: (N, C).

    While some of its words are left it has mass, whatever rounding says, and none when they are all excluded.

    Args:
        words_C: words in each branch.
        branch_NX, here_NX, p_NX: of the excluded words: the branch, whether the entry counts, the probability.
    """
    gone_NC = torch.zeros_like(p_NC).scatter_add(1, branch_NX, torch.where(here_NX, p_NX, 0.0))
    words_gone_NC = torch.zeros_like(p_NC, dtype=torch.int64).scatter_add(1, branch_NX, here_NX.long())
    return torch.where(words_gone_NC < words_C, (p_NC - gone_NC).clamp_min(least(p_NC.dtype)), 0.0)


def pick_word(log_p_NG: Tensor, uniform_N1: Tensor) -> Tensor:
    """The word of a group that the uniform number falls in, by log-probabilities: (N,).

    A word that may be drawn keeps some mass, also where the rest of its group underflows.
    """
    p_NG = wide(log_p_NG).exp()
    mass_NG = torch.where(log_p_NG > float("-inf"), p_NG.clamp_min(least(p_NG.dtype)), 0.0)
    return pick(mass_NG, uniform_N1)[0].squeeze(1)


def pick(mass_NC: Tensor, uniform_N1: Tensor) -> tuple[Tensor, Tensor]:
    """The branch that the uniform number falls in, branches laid out by their mass, and the number stretched to that branch.

    A branch without mass is never picked, unless there is no other.
    """
    upto_NC = mass_NC.cumsum(1)
    total_N1 = upto_NC[:, -1:].contiguous()
    wanted_N1 = uniform_N1 * total_N1
    branch_N1 = torch.minimum(torch.searchsorted(upto_NC, wanted_N1, right=True), torch.searchsorted(upto_NC, total_N1))
    mass_N1 = mass_NC.gather(1, branch_N1)
    before_N1 = upto_NC.gather(1, branch_N1) - mass_N1
    return branch_N1, ((wanted_N1 - before_N1) / mass_N1).clamp(0, 1)
