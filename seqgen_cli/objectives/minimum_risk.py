"""Minimum risk training: the expected risk over a set of outputs (Shen et al. 2016; SPEC.md section 3).

For each source, over the set Y of K samples, equal ones once, and the reference if asked:

    sum_{y in Y} Q(y) (1 - G(y)),  Q(y) = p(y|x)^alpha / sum_{y' in Y} p(y'|x)^alpha.

Over all sequences at alpha = 1 it is the expected risk 1 - E[G].

Shapes: B sentences, K samples of each, C columns (samples and reference).
"""

from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Gt, Le
from torch import Tensor

from seqgen_cli.data.batch import Batch
from seqgen_cli.hints import INLINE
from seqgen_cli.metrics.base import Reward
from seqgen_cli.models.base import Generator
from seqgen_cli.objectives.advice import RewardAdvisor
from seqgen_cli.objectives.base import Loss, Progress
from seqgen_cli.objectives.mle import MaximumLikelihood
from seqgen_cli.objectives.trials import Trials, TrialSettings, monitored, untouched
from seqgen_cli.outputs.base import OutputLayer


class MinimumRisk(MaximumLikelihood):
    """Minimise the expected risk over samples, mixed with maximum likelihood if asked.

    Args:
        model, output: the networks. target_tokenizer: of the target side.
        reward: G. trials: how outputs are drawn and rewarded.
        temperature: samples are drawn from p^(1/temperature), to find more outputs that differ.
        include_reference: whether the reference is of the set.
        alpha: sharpness of Q. Low values flatten it over outputs whose p differ by orders of magnitude.
        mle_weight: w in (1 - w) risk + w mle, the risk per sentence and the likelihood per token.
    """

    rewards_outputs: ClassVar[bool] = True

    def __init__(
        self,
        model: Generator,
        output: OutputLayer,
        target_tokenizer: Any,
        reward: Reward,
        trials: Annotated[TrialSettings, INLINE],
        temperature: Annotated[float, Gt(0)] = 1.0,
        include_reference: bool = True,
        alpha: Annotated[float, Gt(0)] = 0.005,
        mle_weight: Annotated[float, Ge(0), Le(1)] = 0.0,
    ) -> None:
        super().__init__(model, output)
        self.trials = Trials((model, output), target_tokenizer, reward, trials, temperature=temperature)
        cold = "objective.mle_weight=0.9" if mle_weight < 0.5 else None
        self.advisor = RewardAdvisor(trials.samples, cold, ["raise objective.mle_weight", "change objective.alpha"])
        self.samples, self.include_reference = trials.samples, include_reference
        self.alpha, self.mle_weight = alpha, mle_weight

    def counts(self, batch: Batch) -> dict[str, float]:
        """Tokens of the references, for their likelihood, and sequences."""
        return {**super().counts(batch), "sequences": float(len(batch))}

    def forward(self, batch: Batch, progress: Progress) -> Loss:
        terms, metrics = {}, {}
        if self.mle_weight > 0:
            nll = super().forward(batch, progress).terms["tokens"]
            terms["tokens"], metrics["reference_loss/tokens"] = self.mle_weight * nll, nll.detach()
        with self.trials.dropout():
            columns = self.samples + self.include_reference
            trial = self.trials.run(batch, progress, columns=columns, references=self.include_reference)
        log_p_BC = trial.scored.sums_BK(trial.scored.log_p_N)
        reward_BC = trial.rewards(log_p_BC.dtype)
        risk_B, sharp_B = self.risks(log_p_BC, reward_BC[:, :columns], trial.scored.rollouts.distinct_BK)
        risk = risk_B.sum()
        terms["sequences"] = (1 - self.mle_weight) * risk
        if not self.mle_weight:  # nothing but the references' loss reaches the others
            terms["sequences"] = terms["sequences"] + untouched(self.output.estimator_parameters())
        metrics |= monitored(trial, reward_BC, log_p_BC.detach(), self.samples)
        return Loss(terms, {**metrics, "risk/sequences": risk.detach(), "effective_outputs/sequences": sharp_B.detach().sum()})

    def risks(self, log_p_BC: Tensor, reward_BC: Tensor, distinct_BC: Tensor) -> tuple[Tensor, Tensor]:
        """The expected risk of each sentence, and 1 / sum Q^2, how many outputs Q is spread over: (B,)."""
        q_BC = (self.alpha * log_p_BC).masked_fill(~distinct_BC, float("-inf")).softmax(-1)
        return (q_BC * (1 - reward_BC)).sum(-1), 1 / q_BC.square().sum(-1)
