"""Attention of a recurrent decoder over the encoded source: alpha = softmax over real i of score(h_i, q), c = sum_i alpha_i h_i.

Shapes: B sentences, R = B * m decoder rows, T queries of a row, Q = m * T queries of a sentence, S source length, D hidden.
"""

from typing import Literal

from torch import Tensor, nn

Score = Literal["additive", "dot", "general", "scaled_dot"]


class Attention(nn.Module):
    """One attention head.

    additive    v . tanh(W_k h_i + W_q q + b)     (Bahdanau et al. 2015)
    dot         h_i . q                           (Luong et al. 2015)
    general     (W_k h_i) . q                     (Luong et al. 2015)
    scaled_dot  h_i . q / sqrt(D)

    Matrices start at Glorot's bound, v like torch's linear layers, b at zero.

    Args:
        score: one of the four. hidden_size: D, of both sides and of the additive score's inner layer.
    """

    def __init__(self, score: Score, hidden_size: int) -> None:
        super().__init__()
        additive = score == "additive"
        self.scale = hidden_size**-0.5 if score == "scaled_dot" else 1.0
        self.key = nn.Linear(hidden_size, hidden_size, bias=False) if score in ("additive", "general") else nn.Identity()
        self.query = nn.Linear(hidden_size, hidden_size) if additive else nn.Identity()
        self.energy = nn.Linear(hidden_size, 1, bias=False) if additive else None
        for linear in (self.key, self.query):
            if isinstance(linear, nn.Linear):
                nn.init.xavier_uniform_(linear.weight)
        if isinstance(self.query, nn.Linear):
            nn.init.zeros_(self.query.bias)

    def forward(self, query_RTD: Tensor, keys_BSD: Tensor, values_BSD: Tensor, mask_BS: Tensor) -> tuple[Tensor, Tensor]:
        """Contexts (R, T, D) and weights (R, T, S); decoder row i looks at source row i // m.

        Args:
            keys_BSD: `key` of the encoded source, computed once. values_BSD: the encoded source itself.
            mask_BS: True at real tokens; the others get weight zero.
        """
        rows, length, size = query_RTD.shape
        query_BQD = self.query(query_RTD).view(keys_BSD.shape[0], -1, size)
        if self.energy is None:
            score_BQS = query_BQD @ keys_BSD.transpose(1, 2) * self.scale
        else:
            score_BQS = self.energy((query_BQD[:, :, None] + keys_BSD[:, None]).tanh()).squeeze(-1)
        weight_BQS = score_BQS.masked_fill(~mask_BS[:, None], float("-inf")).softmax(-1)
        context_BQD = weight_BQS @ values_BSD
        return context_BQD.view(rows, length, size), weight_BQS.view(rows, length, -1)
