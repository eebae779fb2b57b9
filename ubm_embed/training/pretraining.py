"""Two-stage contrastive pre-training (paper 3.2), seeded, repeatable and resumable.

A step's random numbers come from (seed, stage, step) alone, dropout's also from the chunk. So a run that was cut off
goes on with nothing but weights, optimizer and step number, and ends at the same losses. Several processes take the
steps of one; the first of them writes all there is to write.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ubm_embed.allocation import keep_freed_memory
from ubm_embed.data.arrays import IntArray
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.session_table import MAX_INTERACTIONS, SessionTable
from ubm_embed.data.split import Split
from ubm_embed.data.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.tokenizer import InteractionTokenizer
from ubm_embed.errors import Conflict, InvalidData
from ubm_embed.evaluation.uniformity import alignment, uniformity
from ubm_embed.model.checkpoint import Checkpoint, save_checkpoint
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.outputs import output_folder, require_free
from ubm_embed.progress import Progress, silent
from ubm_embed.training.config import PretrainingConfig
from ubm_embed.training.encoding import CHUNK_TOKENS, Encoding
from ubm_embed.training.processes import ALONE, Processes
from ubm_embed.training.read_ahead import read_ahead
from ubm_embed.training.run import METRICS_FILE, TrainingRun
from ubm_embed.training.schedule import batches, learning_rate, stage_steps
from ubm_embed.training.stages import ITEM_LOSSES, SESSION_LOSSES, ItemStage, SessionStage, Stage
from ubm_embed.training.step import take_step
from ubm_embed.training.view_losses import view_losses
from ubm_embed.training.views import Views


def pretrain(
    corpus: Corpus,
    model: UserBehaviorModel,
    tokenizer: InteractionTokenizer,
    out: str | Path,
    config: PretrainingConfig,
    *,
    device: torch.device | str = "cpu",
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress = silent,
    processes: Processes = ALONE,
) -> Checkpoint:
    """Train `model` on a corpus and write it to the folder `out`, with its metrics.

    The work in hand stands beside it, in `OUT.training`, and stays there when a run is cut off.

    Args:
        processes: those that train together. All call this with the same arguments, and see the same folders.

    Raises:
        Conflict: `out` is taken, an unfinished run does not fit, or processes were started with different things.
        InvalidData: too few sessions to learn from.
        QualityGateFailed: a loss or its gradient was not finite. Nothing is written to `out`; the last good state is
            kept.
    """
    out = Path(out)
    require_free(out, overwrite=overwrite)
    tokenized = TokenizedCorpus.of(corpus, tokenizer)
    stages = stages_of(tokenized, tokenizer, config, model.config.max_interactions)
    settings = {**asdict(config), "corpus": tokenized.fingerprint(), "initial_model": _starting_point(model)}
    _require_alike(settings, processes)
    run = processes.first(
        lambda: TrainingRun.resume(out, settings) if resume else TrainingRun.start(out, settings, overwrite=overwrite)
    )
    keep_freed_memory()
    started = time.monotonic()
    Pretrainer(model.to(device), stages, run, config, progress, processes).train()

    def publish() -> None:
        record = {**_record(config, tokenized, run, time.monotonic() - started), "processes": processes.world}
        with output_folder(out, overwrite=overwrite) as folder:
            save_checkpoint(folder, model, tokenizer, record)
            shutil.copy(run.metrics, folder / METRICS_FILE)
        run.discard()

    processes.first(publish)
    return Checkpoint.from_pretrained(out)


# Vectors whose uniformity is told: all pairs of a batch of thousands would cost more memory than a chunk.
_LOOKED_AT = 2048


class Pretrainer:
    """Runs the stages, one step after the other."""

    def __init__(
        self,
        model: UserBehaviorModel,
        stages: list[Stage],
        run: TrainingRun,
        config: PretrainingConfig,
        progress: Progress = silent,
        processes: Processes = ALONE,
    ) -> None:
        self.model, self.stages, self.run, self.config, self.progress = model, stages, run, config, progress
        self.processes = processes

    def train(self) -> None:
        """Train to the end, from the last kept state where there is one."""
        state = self.processes.first(self.run.load)
        if state is not None:
            self.model.load_state_dict(state["model"])
        for stage in self.stages:
            if state is None or state["stage"] == stage.number:
                self._train_stage(stage, state)
                state = None

    def _train_stage(self, stage: Stage, state: dict[str, Any] | None) -> None:
        optimizer = optimizer_of(self.model, self.config)
        first = 0
        if state is not None:
            first = state["step"]
            optimizer.load_state_dict(state["optimizer"])
        total = stage_steps(stage, self.config)
        self.model.train()

        def read(batch: tuple[int, IntArray]) -> Views:
            step, chosen = batch
            return stage.views(chosen, np.random.default_rng([self.config.seed, stage.number, step]))

        started = time.monotonic()
        for (step, chosen), views in read_ahead(read, batches(stage, self.config, first)):
            record = self._step(stage, optimizer, step, total, views)
            self._tell(record | {"examples_per_second": chosen.size / (time.monotonic() - started)})
            started = time.monotonic()
            if (step + 1) % self.config.checkpoint_steps == 0 and step + 1 < total:
                self._keep(stage.number, step + 1, optimizer)
        self._keep(stage.number, total, optimizer)

    def _step(
        self, stage: Stage, optimizer: torch.optim.Optimizer, step: int, total: int, views: Views
    ) -> dict[str, Any]:
        """Take it; what to tell of it."""
        vectors = stage.encode(self.model, views, self._encoding(stage, step))
        losses = view_losses(vectors, views, self.config)
        loss = torch.stack(list(losses.values())).sum()
        rate = learning_rate(step, total, peak=self.config.peak(stage.number), warmup=self.config.warmup)
        norm = take_step(
            self.model,
            optimizer,
            loss,
            rate=rate,
            max_gradient_norm=self.config.max_gradient_norm,
            where=f"stage {stage.number}, step {step + 1}",
            details=lambda: ", ".join(f"{name} {value.item():g}" for name, value in losses.items()),
            processes=self.processes,
        )
        return {
            "stage": stage.number,
            "step": step + 1,
            "steps": total,
            "loss": loss.item(),
            **{name: value.item() for name, value in losses.items()},
            **_geometry(vectors.detach(), views),
            **_negatives(views),
            "learning_rate": rate,
            "gradient_norm": norm,
        }

    def _tell(self, record: dict[str, Any]) -> None:
        if self.processes.is_first:
            self.run.log(record)
            note = f"loss {record['loss']:.3f}, uniformity {record['uniformity']:.2f}"
            self.progress(f"pre-training, stage {record['stage']}", record["step"], record["steps"], note)

    def _encoding(self, stage: Stage, step: int) -> Encoding:
        return Encoding(
            chunk_tokens=self.config.chunk_tokens or CHUNK_TOKENS[self.model.device.type],
            precision=self.config.precision,
            seeds=(self.config.seed, stage.number, step),
            processes=self.processes,
        )

    def _keep(self, stage: int, step: int, optimizer: torch.optim.Optimizer) -> None:
        if not self.processes.is_first:
            return
        state = {"stage": stage, "step": step, "model": self.model.state_dict(), "optimizer": optimizer.state_dict()}
        self.run.save(state)


def optimizer_of(model: nn.Module, config: PretrainingConfig) -> torch.optim.AdamW:
    """AdamW over all weights, both stages' alike; the schedule sets the rate of each step."""
    return torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)


def stages_of(
    tokenized: TokenizedCorpus,
    tokenizer: InteractionTokenizer,
    config: PretrainingConfig,
    limit: int = MAX_INTERACTIONS,
) -> list[Stage]:
    """The stages that `config` asks for, in order, over what pre-training reads.

    Raises:
        InvalidData: too few sessions or pairs.
    """
    sessions = training_sessions(tokenized, config, limit)
    losses = frozenset(config.losses)
    stages: list[Stage] = []
    if 1 in config.stages:
        pairs = ItemStage.of(
            tokenizer,
            tokenized,
            sessions,
            batch_size=config.item_batch,
            pairs_per_session=config.pairs_per_session,
            losses=losses & set(ITEM_LOSSES),
            item_actions=config.item_actions,
        )
        stages.append(pairs)
    if 2 in config.stages:
        stages.append(SessionStage(tokenizer, tokenized, sessions, config.session_batch, losses & set(SESSION_LOSSES)))
    return stages


def training_sessions(
    tokenized: TokenizedCorpus, config: PretrainingConfig, limit: int = MAX_INTERACTIONS
) -> SessionTable:
    """The sessions that pre-training reads: not held out, back-traced from purchases, of 2 to `limit` interactions.

    Texts that are equal are one here, under the first one's row: the model cannot tell such products apart, so that
    none of them is a negative of another, nor the next item of another.

    Raises:
        InvalidData: fewer than two of them.
    """
    readable = split_of(tokenized, config).parts(tokenized).training
    segments = readable.purchase_segments(purchases_only=config.purchases_only, limit=limit)
    # A session of one interaction cannot be reordered and pairs nothing.
    sessions = segments.take(np.flatnonzero(segments.lengths > 1))
    sessions = replace(sessions, rows=tokenized.texts.firsts()[sessions.rows].astype(np.int32))
    if len(sessions) < 2:
        raise InvalidData(
            f"{len(sessions)} sessions of two or more interactions to train on, out of {len(tokenized.sessions)} in "
            f"the corpus (holdout {config.holdout:g}); contrastive pre-training needs at least 2"
        )
    return sessions


def split_of(tokenized: TokenizedCorpus, config: PretrainingConfig) -> Split:
    """The split that `config` asks for.

    Raises:
        InvalidData: by time, and a session has no timestamp.
    """
    return Split.choose(tokenized, holdout=config.holdout, kind=config.split)


def _negatives(views: Views) -> dict[str, int]:
    """How many negatives the losses of a batch have, and how many false ones were left out of them."""
    counts = views.negatives.values()
    return {
        "negatives": sum(count for count, _ in counts),
        "false_negatives_left_out": sum(count for _, count in counts),
    }


@torch.no_grad()
def _geometry(vectors: Tensor, views: Views) -> dict[str, float]:
    """Alignment and uniformity of a batch: a model that collapses shows in its uniformity, near 0."""
    pairs = next(iter(views.pairs.values())).to(vectors.device)
    different = vectors[torch.unique(pairs.anchors)[:_LOOKED_AT]]
    return {
        "alignment": alignment(vectors[pairs.anchors], vectors[pairs.positives]).item(),
        "uniformity": uniformity(different).item() if len(different) > 1 else 0.0,
    }


def _starting_point(model: UserBehaviorModel) -> str:
    """The model that a resumed run must start from again: a run cut off before its first kept state has no other."""
    digest = hashlib.sha256(json.dumps(asdict(model.config), sort_keys=True).encode())
    for weights in model.state_dict().values():
        digest.update(weights.cpu().contiguous().numpy())
    return f"{sum(weights.numel() for weights in model.parameters())} weights, {digest.hexdigest()[:16]}"


def _require_alike(settings: dict[str, Any], processes: Processes) -> None:
    """Raise `Conflict` where this process has other settings, data or weights than the first one."""
    for name, value in processes.first(lambda: settings).items():
        if settings.get(name) != value:
            raise Conflict(
                f"processes that train together must read and start from the same: {name} is {settings.get(name)!r} in "
                f"process {processes.rank}, in the first one it is {value!r}"
            )


def _record(config: PretrainingConfig, tokenized: TokenizedCorpus, run: TrainingRun, seconds: float) -> dict[str, Any]:
    """The training record of the model folder."""
    last: dict[int, dict[str, Any]] = {}
    for line in run.metrics.read_text("utf-8").splitlines():
        step = json.loads(line)
        last[step["stage"]] = step
    return {
        "pretraining": asdict(config),
        "split": split_of(tokenized, config).to_dict(),
        "corpus": tokenized.fingerprint(),
        "products": tokenized.products,
        "sessions": len(tokenized.sessions),
        "seconds": round(seconds, 1),
        "last_steps": list(last.values()),
    }
