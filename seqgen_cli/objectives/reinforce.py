"""Policy gradient on the reward of the model's own outputs (Williams 1992; Ranzato et al. 2016; SPEC.md section 3).

Maximises J = E_{y ~ p}[G(y)] by the gradient E[(G(y) - b) sum_t d log p(y_t | y_<t, x)], estimated from K samples of each
source, drawn from the model as it is and scored with a gradient in one pass. The loss of a sentence is
- (1/K) sum_k (G(y_k) - b_k) log p(y_k), divided by the number of sentences.

A bonus c for the entropy H(p) and a penalty for the divergence KL(p || p_0) from the starting model p_0 change the reward:

    G'(y) = G(y) - c log p(y) - c_0 (log p(y) - log p_0(y))

whose policy gradient is that of E[G] + c H(p) - c_0 KL(p || p_0), exactly in the mean (E[d log p] = 0): both are estimated from
the samples alone, so that any output layer gives them for nothing and no positions x V are ever held.

Shapes: B sentences, K samples of each, C columns (samples and greedy output), R = B * C rows, N words of samples that differ.
"""

import copy
from dataclasses import replace
from typing import Annotated, Any, ClassVar, cast

import torch
from annotated_types import Ge
from torch import Tensor, nn

from seqgen_cli.data.batch import Batch
from seqgen_cli.hints import INLINE
from seqgen_cli.layers.dropout import without_dropout
from seqgen_cli.layers.rows import by_gradient, places
from seqgen_cli.metrics.base import Reward
from seqgen_cli.models.base import Generator
from seqgen_cli.objectives.advice import RewardAdvisor
from seqgen_cli.objectives.base import Loss, MakeOptimizer, Progress, Update
from seqgen_cli.objectives.baselines import SAMPLES, Baseline, Rewards
from seqgen_cli.objectives.handovers import Handover, Plan
from seqgen_cli.objectives.mle import MaximumLikelihood
from seqgen_cli.objectives.rollouts import Scored, score
from seqgen_cli.objectives.trials import Trials, TrialSettings, monitored, untouched
from seqgen_cli.outputs.base import OutputLayer


class Reinforce(MaximumLikelihood):
    """Maximise the expected reward of the model's outputs, mixed with or after maximum likelihood.

    Args:
        model, output: the networks. target_tokenizer: of the target side.
        reward: G. baseline: b. handover: from mle to this. trials: how outputs are drawn and rewarded.
        entropy: c, in reward per nat. kl: c_0, likewise; the starting model is the weights before the first update, those of
            `init_from`, kept in the run's checkpoints.
    """

    rewards_outputs: ClassVar[bool] = True

    def __init__(
        self,
        model: Generator,
        output: OutputLayer,
        target_tokenizer: Any,
        reward: Reward,
        baseline: Baseline,
        handover: Handover,
        trials: Annotated[TrialSettings, INLINE],
        entropy: Annotated[float, Ge(0)] = 0.0,
        kl: Annotated[float, Ge(0)] = 0.0,
    ) -> None:
        super().__init__(model, output)
        self.trials = Trials((model, output), target_tokenizer, reward, trials, greedy=baseline.wants_greedy)
        self.baseline, self.handover, self.samples = baseline, handover, trials.samples
        self.entropy, self.kl = entropy, kl
        begin = handover.plan(0)
        cold = begin.samples > begin.reference or bool(begin.last)
        remedies = ["set objective.kl or objective.entropy above 0", "leave mle more weight (objective/handover)"]
        self.advisor = RewardAdvisor(trials.samples, "objective/handover=linear" if cold else None, remedies)
        self.regressor = baseline.regressor(model.hidden_size)
        networks = nn.ModuleDict({"model": cast(nn.Module, model), "output": output})
        self.starting = copy.deepcopy(networks).requires_grad_(False) if kl else None

    def updates(self, make_optimizer: MakeOptimizer) -> list[Update]:
        """One, of all but the starting model."""
        moving = [(name, parameter) for name, parameter in self.named_parameters() if parameter.requires_grad]
        return [Update("reinforce", self, [make_optimizer(part) for part in by_gradient(moving)])]

    def counts(self, batch: Batch) -> dict[str, float]:
        """Tokens of the references, for their likelihood; sequences; samples, for what fits a learned baseline."""
        counts = {**super().counts(batch), "sequences": float(len(batch))}
        return counts if self.regressor is None else {**counts, "samples": float(self.samples * len(batch))}

    def forward(self, batch: Batch, progress: Progress) -> Loss:
        plan = self.handover.plan(progress.update)
        if self.starting is not None and progress.update == 0:
            self._keep_starting(self.starting)
        count = torch.tensor(float(len(batch)), device=batch.index_B.device)
        terms, metrics = {}, {"samples_weight/sequences": plan.samples * count}
        if plan.last is not None:
            metrics["last_words/sequences"] = plan.last * count
        loose = list(self.output.estimator_parameters())  # those that nothing but the references' loss reaches
        if plan.reference > 0:
            nll, loose = self._references(batch, progress, plan.last, loose)
            terms["tokens"], metrics["reference_loss/tokens"] = plan.reference * nll, nll.detach()
        if plan.samples > 0:
            own, more = self._samples(batch, progress, plan)
            terms, metrics = {**terms, **own}, {**metrics, **more}
        elif self.regressor is not None:
            loose = [*loose, *self.regressor.parameters()]
        first = next(iter(terms))
        terms[first] = terms[first] + untouched(loose)
        return Loss(terms, metrics)

    def _references(
        self, batch: Batch, progress: Progress, last: int | None, loose: list[nn.Parameter]
    ) -> tuple[Tensor, list[nn.Parameter]]:
        """Loss of the references, without their `last` words; the parameters that it does not reach."""
        if last:
            assert batch.targets_BT is not None and batch.target_lengths_B is not None and batch.valid_N is not None
            length_N = batch.target_lengths_B[batch.valid_N // batch.targets_BT.shape[1]]
            batch = replace(batch, valid_N=batch.valid_N[places(batch.positions_N < length_N - last)])
            if not batch.targets_N.shape[0]:
                return torch.zeros((), device=batch.index_B.device), loose
        return super().forward(batch, progress).terms["tokens"], []

    def _samples(self, batch: Batch, progress: Progress, plan: Plan) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The terms of the samples, and what is logged of them."""
        assert batch.target_lengths_B is not None
        prefix_B = None if plan.last is None else (batch.target_lengths_B - plan.last).clamp_min(0)
        shaped = self.entropy > 0 or self.kl > 0
        with self.trials.dropout():
            greedy_too = shaped and self.baseline.wants_greedy
            trial = self.trials.run(batch, progress, prefix_B, columns=None if greedy_too else self.samples)
        log_p_BC = trial.scored.sums_BK(trial.scored.log_p_N.detach())
        reward_BC = trial.rewards(log_p_BC.dtype)
        metrics = monitored(trial, reward_BC, log_p_BC, self.samples)
        if shaped:
            reward_BC = reward_BC[:, : log_p_BC.shape[1]] - self.entropy * log_p_BC
            if self.starting is not None:
                kl_BC = log_p_BC - self._starting_log_p(self.starting, batch, trial.scored)
                reward_BC = reward_BC - self.kl * kl_BC
                metrics[f"kl/{SAMPLES}"] = kl_BC[:, : self.samples].sum()
            metrics[f"return/{SAMPLES}"] = reward_BC[:, : self.samples].sum()
        greedy_B = reward_BC[:, self.samples] if self.baseline.wants_greedy else None
        return_BK = reward_BC[:, : self.samples]
        baseline_BK = self.baseline.values(Rewards(return_BK, greedy_B, progress))
        advantage_BK = return_BK if baseline_BK is None else return_BK - baseline_BK
        weight_N = self._by_word(trial.scored, advantage_BK)
        terms = {}
        if self.regressor is not None:
            baseline_N = self.regressor(trial.scored.hidden_ND.detach()).squeeze(1).to(weight_N.dtype)
            times_N = self._by_word(trial.scored, torch.ones_like(advantage_BK))
            weight_N = weight_N - times_N * baseline_N.detach()
            length_BK = trial.scored.rollouts.own_lengths_BK()[:, : self.samples]
            baseline_BK = trial.scored.sums_BK(baseline_N.detach())[:, : self.samples] / length_BK
            advantage_BK = return_BK - baseline_BK
            error_N = (baseline_N - self._by_word(trial.scored, return_BK) / times_N).square()
            share_N = self._by_word(trial.scored, 1 / length_BK.to(error_N.dtype))
            terms["samples"] = plan.samples * (share_N * error_N).sum()
        terms["sequences"] = -plan.samples / self.samples * (weight_N * trial.scored.log_p_N).sum()
        if baseline_BK is not None:
            metrics[f"baseline/{SAMPLES}"] = baseline_BK.sum()
        metrics[f"advantage/{SAMPLES}"] = advantage_BK.sum()
        metrics[f"advantage_squared/{SAMPLES}"] = advantage_BK.square().sum()
        return terms, metrics

    def _by_word(self, scored: Scored, value_BK: Tensor) -> Tensor:
        """The sum over equal samples of their values, at each word: (N,). The greedy output's words have 0."""
        columns = scored.rollouts.lengths_BK.shape[1]
        return scored.merged_R(nn.functional.pad(value_BK, (0, columns - self.samples)))[scored.row_N]

    @torch.no_grad()
    def _starting_log_p(self, starting: nn.ModuleDict, batch: Batch, scored: Scored) -> Tensor:
        """log p_0 of each output: (B, C)."""
        network = (cast(Generator, starting["model"]), cast(OutputLayer, starting["output"]))
        with without_dropout(starting):
            before = score(network, network[0].encode(batch), scored.rollouts, self.trials.specials)
        return before.sums_BK(before.log_p_N)

    def _keep_starting(self, starting: nn.ModuleDict) -> None:
        """Weights are loaded into the networks after they were built, so the copy is made when training starts."""
        starting["model"].load_state_dict(cast(nn.Module, self.model).state_dict())
        starting["output"].load_state_dict(self.output.state_dict())
