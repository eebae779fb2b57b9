"""Two-stage contrastive pre-training (paper 3.2), seeded, repeatable and resumable.

A step's random numbers come from (seed, stage, step) alone, those of dropout also from the chunk. So a run that was cut
off needs only weights, optimizer and step number to end at the same losses. Several processes together take the steps
that one would take; process 0 writes all files.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ubm_embed.data.batches.session_table import MAX_INTERACTIONS, SessionTable
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.tasks.split import Split, Splittable
from ubm_embed.data.tasks.training_ids import TrainingIds
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.errors import Conflict, InvalidData
from ubm_embed.inference.runtimes.graph_writer import write_graphs
from ubm_embed.model.checkpoint import Checkpoint, save_checkpoint
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.outputs import output_folder, require_free
from ubm_embed.progress import Notice, Progress, silent, unsaid
from ubm_embed.training.metrics_file import METRICS_FILE
from ubm_embed.training.pretraining.config import ITEM_LOSSES, SESSION_LOSSES, PretrainingConfig
from ubm_embed.training.pretraining.pretrainer import Pretrainer
from ubm_embed.training.pretraining.stages import ItemStage, SessionStage, Stage
from ubm_embed.training.processes import ALONE, Processes
from ubm_embed.training.run import TrainingRun
from ubm_embed.training.tracking.tracker import Tracker
from ubm_embed.training.tracking.tracking import tracked


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
    restart: bool = False,
    earlier_ids: TrainingIds | None = None,
    progress: Progress = silent,
    processes: Processes = ALONE,
    trackers: Sequence[Tracker] = (),
    notice: Notice = unsaid,
) -> Checkpoint:
    """Train `model` on a corpus and write it to the folder `out`, with its metrics.

    The unfinished run stands beside it, in `OUT.training`, and stays there when it is cut off.

    Args:
        overwrite: replace what is at `out`; an unfinished run is not touched.
        resume: continue the unfinished run.
        restart: discard the unfinished run, if there is one, and start over.
        earlier_ids: what `model` was trained on before.
        processes: those that train together. All call this with the same arguments, and see the same folders.
        trackers: get what process 0 logs as well.
        notice: is told when a tracker fails; training goes on.

    Raises:
        Conflict: `out` is taken, another run is writing to it, a run is unfinished or does not fit, or the processes
            were started with different settings, data or weights.
        NotFound: there is no run to resume.
        InvalidData: too few sessions to learn from.
        QualityGateFailed: a loss or its gradient was not finite. Nothing is written to `out`; the last saved state, if
            there is one, stays in `OUT.training`.
        ValueError: both `resume` and `restart` are set.
    """
    out = Path(out)
    require_free(out, overwrite=overwrite)
    with TrainingRun.lock(out, processes):
        processes.on_rank_zero(lambda: TrainingRun.check(out, resume=resume, restart=restart))
        tokenized = TokenizedCorpus.from_corpus(corpus, tokenizer)
        stages = stages_of(tokenized, tokenizer, config, model.config.max_interactions)
        settings = config.model_dump(mode="json")
        settings |= {"corpus": tokenized.fingerprint(), "initial_model": _initial_model(model)}
        _require_alike(settings, processes)
        run = processes.on_rank_zero(lambda: TrainingRun.open(out, settings, resume=resume, restart=restart))
        started = time.monotonic()

        def publish() -> None:
            record = _record(config, tokenized, run, time.monotonic() - started)
            with output_folder(out, overwrite=overwrite) as folder:
                save_checkpoint(folder, model, tokenizer, record | {"processes": processes.world_size})
                ids = TrainingIds.from_split(corpus, tokenized, split_of(tokenized, config))
                (ids if earlier_ids is None else ids.union(earlier_ids)).save(folder)
                shutil.copy(run.metrics, folder / METRICS_FILE)
            write_graphs(out)
            run.discard()

        with tracked(run, trackers if processes.is_rank_zero else (), settings, notice):
            Pretrainer(model.to(device), stages, run, config, progress, processes).train()
            processes.on_rank_zero(publish)
    return Checkpoint.from_pretrained(out)


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
        pairs = ItemStage.from_sessions(
            tokenizer,
            tokenized,
            sessions,
            batch_size=config.item_batch,
            pairs_per_session=config.pairs_per_session,
            losses=losses & set(ITEM_LOSSES),
            item_actions=config.item_actions,
            mask_known_next_items=config.mask_known_next_items,
        )
        stages.append(pairs)
    if 2 in config.stages:
        stages.append(SessionStage(tokenizer, tokenized, sessions, config.session_batch, losses & set(SESSION_LOSSES)))
    return stages


def training_sessions(
    tokenized: TokenizedCorpus, config: PretrainingConfig, limit: int = MAX_INTERACTIONS
) -> SessionTable:
    """The sessions that pre-training reads: not held out, back-traced from purchases, of 2 to `limit` interactions.

    Equal texts get the row of the first one: the model cannot tell such products apart, so that none of them may be a
    negative, or the next item, of another.

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
            f"{'; only purchases are read: --all-sessions reads the rest too' if config.purchases_only else ''}"
        )
    return sessions


def split_of(corpus: Splittable, config: PretrainingConfig) -> Split:
    """The split that `config` asks for.

    Raises:
        InvalidData: by time, and a session has no timestamp.
    """
    return Split.choose(corpus, holdout=config.holdout, kind=config.split)


def _initial_model(model: UserBehaviorModel) -> str:
    """A hash of the model that training starts from.

    A resumed run must be given the same one: a run cut off before its first saved state has no other weights.
    """
    digest = hashlib.sha256(json.dumps(model.config.model_dump(mode="json"), sort_keys=True).encode())
    for weights in model.state_dict().values():
        digest.update(weights.cpu().contiguous().numpy())
    return f"{sum(weights.numel() for weights in model.parameters())} weights, {digest.hexdigest()[:16]}"


def _require_alike(settings: dict[str, Any], processes: Processes) -> None:
    """Raise `Conflict` where this process has other settings, data or weights than process 0."""
    for name, value in processes.on_rank_zero(lambda: settings).items():
        if settings.get(name) != value:
            raise Conflict(
                f"processes that train together must start with the same settings, data and weights: {name} is "
                f"{settings.get(name)!r} in process {processes.rank}, and {value!r} in process 0"
            )


def _record(config: PretrainingConfig, tokenized: TokenizedCorpus, run: TrainingRun, seconds: float) -> dict[str, Any]:
    """The training record of the model folder."""
    last: dict[int, dict[str, Any]] = {}
    for line in run.metrics.read_text("utf-8").splitlines():
        step = json.loads(line)
        last[step["stage"]] = step
    return {
        "pretraining": config.model_dump(mode="json"),
        "split": split_of(tokenized, config).to_dict(),
        "corpus": tokenized.fingerprint(),
        "products": tokenized.products,
        "sessions": len(tokenized.sessions),
        "seconds": round(seconds, 1),
        "last_steps": list(last.values()),
    }
