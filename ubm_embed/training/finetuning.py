"""Fine-tuning for a task (paper 3.4, 4.2.2), seeded, repeatable and resumable.

A step's random numbers come from (seed, step) and an epoch's examples from (seed, epoch) alone, as in pre-training.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ubm_embed.data.batches import NO_ACTION
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.leaks import LeakReport
from ubm_embed.data.questions import Questions
from ubm_embed.data.split import Split
from ubm_embed.data.tasks import Examples, Task
from ubm_embed.data.tokenized_corpus import TokenizedCorpus
from ubm_embed.embedder import Embedder
from ubm_embed.errors import Conflict, InvalidData, QualityGateFailed
from ubm_embed.model.checkpoint import Checkpoint, save_checkpoint
from ubm_embed.model.heads import PurchaseIntentionHead, RemainingLengthHead
from ubm_embed.model.tower import CachedInteractions, TextInteractions, Tower, UBMTower
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.outputs import output_folder, require_free
from ubm_embed.progress import Progress, silent
from ubm_embed.training.finetuning_config import FinetuningConfig
from ubm_embed.training.objectives import NextItem, Objective, PurchaseIntention, RemainingLength
from ubm_embed.training.precision import autocast
from ubm_embed.training.run import METRICS_FILE, TrainingRun
from ubm_embed.training.schedule import learning_rate


def finetune(
    corpus: Corpus,
    checkpoint: Checkpoint,
    out: str | Path,
    config: FinetuningConfig,
    *,
    device: torch.device | str = "cpu",
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress = silent,
) -> Checkpoint:
    """Fine-tune a model for a task and write it to the folder `out`, with its metrics and leak report.

    For next item prediction the result is a session tower beside the product tower it answers against; with
    `train_products` one model for both.

    Raises:
        Conflict: `out` is taken, an unfinished run does not fit, or another split is asked for than the model's.
        InvalidData: the corpus cannot pose the task.
        QualityGateFailed: a loss or its gradient was not finite; nothing is written.
    """
    out = Path(out)
    require_free(out, overwrite=overwrite)
    tokenized = TokenizedCorpus.of(corpus, checkpoint.tokenizer)
    split, pretrained = agreed_split(checkpoint, tokenized, config)
    questions = Questions.of(config.task, tokenized, split, **config.questions)
    questions.drawn(np.random.default_rng(config.seed))  # what cannot be asked is told before any work
    questions.validation(most=config.most_validation, seed=config.seed)  # what cannot be judged is not worth an hour
    model, objective = objective_of(corpus, checkpoint, questions, config, device, progress)
    settings = {**asdict(config), "corpus": tokenized.fingerprint(), "initial_model": checkpoint.model_id}
    run = TrainingRun.resume(out, settings) if resume else TrainingRun.start(out, settings, overwrite=overwrite)
    started = time.monotonic()
    best = Finetuner(objective, questions, config, run, progress).train()
    record = {
        **checkpoint.record,
        "finetuning": asdict(config) | asdict(best) | {"seconds": round(time.monotonic() - started, 1)},
        "initial_model": checkpoint.model_id,
        "split": split.to_dict(),
        "corpus": tokenized.fingerprint(),
        "leaks": LeakReport.of(corpus, tokenized, split, pretrained=pretrained).to_dict(),
    }
    with output_folder(out, overwrite=overwrite) as folder:
        tower = checkpoint.products if model.config.product_tower else None
        save_checkpoint(folder, model.cpu(), checkpoint.tokenizer, record, tower)
        shutil.copy(run.metrics, folder / METRICS_FILE)
    run.discard()
    return Checkpoint.from_pretrained(out)


def agreed_split(checkpoint: Checkpoint, corpus: TokenizedCorpus, config: FinetuningConfig) -> tuple[Split, str]:
    """The split that the model was pre-trained with, or a new one; and whether pre-training kept to it.

    Raises:
        Conflict: the model was pre-trained with a split of another kind: its test part is not unseen by another's.
    """
    recorded = Split.of_record(checkpoint.record, corpus)
    if recorded is None:
        known = "another corpus" if "corpus" in checkpoint.record else "unknown"
        return Split.choose(corpus, holdout=config.holdout, kind=config.split), known
    if not recorded.holdout:
        return Split.choose(corpus, holdout=config.holdout, kind=config.split), "it saw every session"
    if config.split not in ("auto", recorded.kind):
        raise Conflict(
            f"the model was pre-trained with a split by {recorded.kind}; split by {config.split}, sessions that it has "
            "seen would be asked"
        )
    # A model that was fine-tuned already keeps the split of that; what pre-training had seen, it was told then.
    return recorded, checkpoint.record.get("leaks", {}).get("pretrained", "yes")


def objective_of(
    corpus: Corpus,
    checkpoint: Checkpoint,
    questions: Questions,
    config: FinetuningConfig,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
) -> tuple[UserBehaviorModel, NextItem | PurchaseIntention | RemainingLength]:
    """A copy of the model with a head, and what trains it. Training the second trains the first."""
    torch.manual_seed(config.seed)  # the head's
    frozen = config.task is Task.NIP and not config.train_products
    tower_id = checkpoint.products.model_id if frozen else None
    model = checkpoint.model.fine_tuned(task=config.task, product_tower=tower_id).to(device)
    vectors = None
    if frozen:
        embedded = Embedder(checkpoint, device=str(device)).embed_products(corpus.products, progress=progress)
        vectors = torch.from_numpy(embedded).to(device)
    interactions: TextInteractions | CachedInteractions
    interactions = TextInteractions(model.interaction_encoder, checkpoint.tokenizer, questions.corpus.texts)
    if config.only_session_encoder:
        interactions = _cached(interactions, questions.corpus, products_too=config.train_products)
    return model, task_objective(UBMTower(model, interactions, vectors), model.head, questions, config)


def task_objective(
    tower: Tower,
    head: PurchaseIntentionHead | RemainingLengthHead | None,
    questions: Questions,
    config: FinetuningConfig,
) -> NextItem | PurchaseIntention | RemainingLength:
    """What trains any tower on these questions; the head is given the training part's share, or mean and spread."""
    if head is None:
        popularity = np.where(questions.counts >= config.least_count, questions.counts, 0)
        products = questions.corpus.products
        return NextItem(
            tower, products, popularity=popularity, negatives=config.draws(products), repeats=config.repeats
        )
    targets = questions.drawn(np.random.default_rng([config.seed, 3])).targets.astype(np.float64)
    if isinstance(head, PurchaseIntentionHead):
        head.purchase_share.fill_(targets.mean())
        return PurchaseIntention(tower, head)
    head.mean.fill_(targets.mean())
    head.spread.fill_(targets.std() or 1.0)
    return RemainingLength(tower, head)


def _cached(interactions: TextInteractions, corpus: TokenizedCorpus, *, products_too: bool) -> CachedInteractions:
    """Everything that stands in a session of the corpus, and with `products_too` every product alone."""
    actions, rows = corpus.sessions.actions.astype(np.int64), corpus.sessions.rows.astype(np.int64)
    if products_too:
        alone = np.arange(corpus.products)
        actions, rows = np.concatenate([actions, np.full(alone.size, NO_ACTION)]), np.concatenate([rows, alone])
    return CachedInteractions.of(interactions, actions, rows)


@dataclass
class Best:
    """The best look so far.

    Attributes:
        step: after which it was; 0 is before any.
        validation_loss: there.
        looks: since then.
    """

    step: int = 0
    validation_loss: float = math.inf
    looks: int = 0


class Finetuner:
    """Trains an objective, looks at the validation part, and leaves the objective with its best weights.

    Args:
        run: keeps the state on disk; None for a run that need not survive.
    """

    def __init__(
        self,
        objective: Objective,
        questions: Questions,
        config: FinetuningConfig,
        run: TrainingRun | None = None,
        progress: Progress = silent,
    ) -> None:
        assert isinstance(objective, nn.Module)
        self.module, self.objective = objective, objective
        self.questions, self.config, self.run, self.progress = questions, config, run, progress
        self.validation = questions.validation(most=config.most_validation, seed=config.seed)
        weights = [weight for weight in self.module.parameters() if weight.requires_grad]
        if not weights:
            raise InvalidData("the model has no session layers, and nothing else is to be trained")
        self.device = weights[0].device
        self.optimizer = torch.optim.AdamW(
            weights, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self.best, self.best_weights = Best(), deepcopy(self.module.state_dict())

    def train(self) -> Best:
        """Train to the end, or until it no longer gains."""
        first, (total, every) = self._resume(), self._steps()
        if not first:
            self._look(0)  # a model that training only spoils is given back as it was
        for step, examples in self._batches(first, total):
            if self.config.patience is not None and self.best.looks >= self.config.patience:
                break  # asked here, so that a run that was cut off after its last look stops there too
            self._step(step, total, examples)
            if (step + 1) % every == 0 or step + 1 == total:
                self._look(step + 1)
                self._keep(step + 1)
        self.module.load_state_dict(self.best_weights)
        self.module.eval()
        return self.best

    def _steps(self) -> tuple[int, int]:
        """All steps, and those between two looks."""
        epoch = max(1, len(self._epoch(0)) // self.config.batch)
        total = min(self.config.epochs * epoch, self.config.max_steps or self.config.epochs * epoch)
        return total, self.config.validation_steps or epoch

    def _epoch(self, epoch: int) -> Examples:
        return self.questions.training(np.random.default_rng([self.config.seed, 4, epoch]))

    def _batches(self, first: int, total: int) -> Iterator[tuple[int, Examples]]:
        step, epoch, size = 0, 0, self.config.batch
        while step < total:
            examples = self._epoch(epoch)
            for batch in range(max(1, len(examples) // size)):
                if first <= step < total:
                    yield step, examples.take(np.arange(batch * size, min(len(examples), (batch + 1) * size)))
                step += 1
            epoch += 1

    def _step(self, step: int, total: int, examples: Examples) -> None:
        started = time.monotonic()
        rng = np.random.default_rng([self.config.seed, 5, step])
        torch.manual_seed(int(rng.integers(2**62)))  # dropout's
        self.module.train()
        with autocast(self.device, self.config.precision):
            loss = self.objective.loss(examples, rng)
        _require_finite("loss", loss, step)
        rate = learning_rate(step, total, peak=self.config.learning_rate, warmup=self.config.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.module.parameters(), self.config.max_gradient_norm)
        _require_finite("gradient", norm, step)
        self.optimizer.step()
        self._log(
            step=step + 1,
            steps=total,
            loss=loss.item(),
            learning_rate=rate,
            gradient_norm=norm.item(),
            examples_per_second=len(examples) / (time.monotonic() - started),
        )
        note = f"loss {loss.item():.3f}, validation {self.best.validation_loss:.3f} at step {self.best.step}"
        self.progress(f"fine-tuning, {self.config.task}", step + 1, total, note)

    @torch.no_grad()
    def _look(self, step: int) -> None:
        self.module.eval()
        rng = np.random.default_rng([self.config.seed, 6])  # the same sample at every look
        size, count = max(256, self.config.batch), len(self.validation)
        total = 0.0
        for start in range(0, count, size):
            part = self.validation.take(np.arange(start, min(start + size, count)))
            total += self.objective.loss(part, rng).item() * len(part)
        loss = total / count
        self._log(step=step, validation_loss=loss)
        if loss < self.best.validation_loss:
            self.best, self.best_weights = Best(step, loss), deepcopy(self.module.state_dict())
        else:
            self.best.looks += 1

    def _log(self, **record: Any) -> None:
        if self.run is not None:
            self.run.log(record)

    def _keep(self, step: int) -> None:
        if self.run is not None:
            self.run.save(
                {
                    "step": step,
                    "model": self.module.state_dict(),
                    "optimizer": self.optimizer.state_dict(),
                    "best": asdict(self.best),
                    "best_weights": self.best_weights,
                }
            )

    def _resume(self) -> int:
        """The step to go on from."""
        state = self.run.load() if self.run is not None else None
        if state is None:
            return 0
        self.module.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.best, self.best_weights = Best(**state["best"]), state["best_weights"]
        return int(state["step"])


def _require_finite(what: str, number: Tensor, step: int) -> None:
    if not torch.isfinite(number):
        raise QualityGateFailed(
            f"the {what} of step {step + 1} is not finite; nothing was written: lower --learning-rate and start again "
            "with --overwrite"
        )
