"""One logit for two classes: log p(1|h) = log sigmoid(a), log p(0|h) = log sigmoid(-a), a = w.h + b  (SPEC.md section 2).

Its loss is binary cross-entropy with logits. A softmax over two classes describes the same distributions with twice the weights.

Shapes: N examples, D hidden.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from seqgen_cli.errors import RequestError
from seqgen_cli.outputs.base import OutputLayer, linear_scores


class Sigmoid(OutputLayer):
    """The two-class counterpart of softmax. Weights start as torch's nn.Linear.

    Args:
        hidden_size: D.
        vocab_size: classes; must be 2.

    Raises:
        RequestError: there are more or fewer classes.
    """

    classifies = True

    def __init__(self, hidden_size: int, vocab_size: int) -> None:
        super().__init__()
        if vocab_size != 2:
            raise RequestError(f"output=sigmoid tells two classes apart, but there are {vocab_size}. Use output=softmax.")
        self.hidden_size = hidden_size
        self.vocab_size = vocab_size
        self.logit = nn.Linear(hidden_size, 1)

    def score(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        logit_N = self._logits(hidden_ND)
        return logsigmoid(torch.where(target_N == 1, logit_N, -logit_N))

    def log_probs(self, hidden_ND: Tensor) -> Tensor:
        logit_N = self._logits(hidden_ND)
        return torch.stack([logsigmoid(-logit_N), logsigmoid(logit_N)], dim=-1)

    def _logits(self, hidden_ND: Tensor) -> Tensor:
        """a, never in less than float32: under autocast the product is rounded, the logarithm is not."""
        return linear_scores(hidden_ND, self.logit.weight, self.logit.bias).squeeze(-1)
