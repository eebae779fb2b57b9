"""Fine-tuning for a task (paper 3.4, 4.2.2), seeded, repeatable and resumable."""

from __future__ import annotations

import math
import shutil
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from ubm_embed.data.batches.distinct_batches import NO_ACTION
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.tasks.examples import Task
from ubm_embed.data.tasks.leaks import LeakReport, kept_to_split
from ubm_embed.data.tasks.questions import Questions
from ubm_embed.data.tasks.split import Split
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.errors import Conflict, InvalidData
from ubm_embed.inference.allocation import keep_freed_memory
from ubm_embed.inference.embedder import Embedder
from ubm_embed.model.checkpoint import Checkpoint, require_task, save_checkpoint
from ubm_embed.model.heads import PurchaseIntentionHead, RemainingLengthHead
from ubm_embed.model.tower import CachedInteractions, TextInteractions, Tower, UBMTower
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.outputs import output_folder, require_free
from ubm_embed.progress import Progress, silent
from ubm_embed.training.finetuning.config import HOLDOUT, FinetuningConfig
from ubm_embed.training.finetuning.finetuner import Finetuner
from ubm_embed.training.finetuning.neighbour_vectors import neighbour_vectors
from ubm_embed.training.finetuning.objectives import NextItem, PurchaseIntention, RemainingLength
from ubm_embed.training.run import METRICS_FILE, TrainingRun


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
        InvalidData: the corpus cannot pose the task, the model was fine-tuned for another, or is asked at every place
            and is not causal.
        NotFound: nothing to resume.
        QualityGateFailed: a loss or its gradient was not finite; nothing is written.
        ValueError: next item prediction with a model that was opened from no folder: its tower could not be kept.
    """
    out = Path(out)
    require_free(out, overwrite=overwrite)
    if config.task is Task.NIP:
        require_task(checkpoint, Task.NIP)
        if not config.train_products and checkpoint.products.folder is None:
            raise ValueError("the product tower is copied from its folder, and this model has none")
    tokenized = TokenizedCorpus.of(corpus, checkpoint.tokenizer)
    split, pretrained = agreed_split(checkpoint, tokenized, config)
    questions = Questions.of(config.task, tokenized, split, **config.questions)
    questions.drawn(np.random.default_rng(config.seed))  # what cannot be asked is told before any work
    origin = {"corpus": tokenized.fingerprint(), "initial_model": checkpoint.model_id}
    settings = {**asdict(config), **origin}
    run = TrainingRun.resume(out, settings) if resume else None
    if run is None:
        TrainingRun.require_none(out, overwrite=overwrite)
    model, objective = objective_of(corpus, checkpoint, questions, config, device, progress)
    tuner = Finetuner(objective, questions, config, progress)
    run = run or TrainingRun.start(out, settings, overwrite=overwrite)  # what cannot be trained leaves none behind
    keep_freed_memory()
    started = time.monotonic()
    best = tuner.train(run)
    record = {
        **checkpoint.record,
        **origin,
        "finetuning": asdict(config) | best.to_dict() | {"seconds": round(time.monotonic() - started, 1)},
        "split": split.to_dict(),
        "leaks": LeakReport.of(corpus, tokenized, split, pretrained=pretrained).to_dict(),
    }
    with output_folder(out, overwrite=overwrite) as folder:
        tower = checkpoint.products if model.config.product_tower else None
        save_checkpoint(folder, model.cpu(), checkpoint.tokenizer, record, tower)
        shutil.copy(run.metrics, folder / METRICS_FILE)
    run.discard()
    return Checkpoint.from_pretrained(out)


# Tokens by layers by width of a chunk, some 100 bytes each: on a CPU 32,768 tokens of the recipe's encoder.
_CHUNK = {"cpu": 1 << 23, "cuda": 1 << 26}
# A product that training sees less often is known by its words alone: the paper calls it sparse (4.5).
KNOWN_COUNT = 5
# Of so many texts the length is measured.
_MEASURED = 200


def agreed_split(checkpoint: Checkpoint, corpus: TokenizedCorpus, config: FinetuningConfig) -> tuple[Split, str]:
    """The split that the model was pre-trained with, or a new one; and whether pre-training kept to it.

    Raises:
        Conflict: the model was pre-trained with another split than is asked for: its test part is not unseen by this.
        InvalidData: a split by time, and a session has no timestamp; or a damaged record.
    """
    recorded = Split.of_record(checkpoint.record, corpus)
    if recorded is None or not recorded.holdout:
        other = "another corpus" if "corpus" in checkpoint.record else "unknown"
        holdout = HOLDOUT if config.holdout is None else config.holdout
        chosen = Split.choose(corpus, holdout=holdout, kind=config.split)
        return chosen, other if recorded is None else "it saw every session"
    if config.split not in ("auto", recorded.kind) or config.holdout not in (None, recorded.holdout):
        raise Conflict(
            f"the model was pre-trained with a split by {recorded.kind} that holds out {recorded.holdout:g}; with "
            "another, sessions that it has seen would be asked"
        )
    # A model that was fine-tuned already keeps the split of that; what pre-training had seen, it was told then.
    return recorded, kept_to_split(checkpoint.record)


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
    if config.every_place and not model.config.causal:
        raise InvalidData(
            "only a causal session encoder can be asked at every place of a session at once, and this model's reads "
            "both ways: pre-train with --recipe shop, or fine-tune with --one-by-one or --recipe paper"
        )
    if config.known_texts:
        _know_products(model, checkpoint.tokenizer, questions, config.seed, progress)
    elif config.task is Task.NIP and config.train_products:
        model.forget()
    model.drop_known_texts(config.known_text_dropout)
    vectors = None
    if frozen:
        embedded = Embedder(checkpoint, device=str(device)).embed_products(corpus.products, progress=progress)
        vectors = torch.from_numpy(embedded).to(device)
    interactions: TextInteractions | CachedInteractions
    interactions = TextInteractions(
        model.interaction_encoder,
        checkpoint.tokenizer,
        questions.corpus.texts,
        chunk_tokens=config.chunk_tokens or _chunk_tokens(model),
    )
    if config.only_session_encoder:
        interactions = cached_interactions(
            interactions, questions.corpus, products_too=config.train_products, progress=progress
        )
    return model, task_objective(UBMTower(model, interactions, vectors), model.head, questions, config)


def _chunk_tokens(model: UserBehaviorModel) -> int:
    encoder = model.interaction_encoder.encoder.config
    return max(1, int(_CHUNK[model.device.type] // (encoder.num_hidden_layers * encoder.hidden_size)))


def _know_products(
    model: UserBehaviorModel, tokenizer: InteractionTokenizer, questions: Questions, seed: int, progress: Progress
) -> None:
    """Learn a vector of each product that training has seen often enough; it starts as long as what the words say."""
    seen, corpus = np.flatnonzero(questions.counts >= KNOWN_COUNT), questions.corpus
    start = None
    # Where some have vectors already, a start of others would lie in a space of its own.
    if seen.size and not model.config.known_texts:
        some = seen[:: math.ceil(seen.size / _MEASURED)]
        model.eval()
        read = TextInteractions(model.interaction_encoder, tokenizer, corpus.texts)
        with torch.no_grad():
            length = read(np.full(some.size, NO_ACTION), some).norm(dim=1).mean().item()
        sessions, dimension = questions.parts.training, model.config.dimension
        start = neighbour_vectors(
            sessions, corpus.products, seen, dimension, length=length, seed=seed, progress=progress
        )
    model.know(corpus.texts.take(seen), tokenizer, start)


def task_objective(
    tower: Tower,
    head: PurchaseIntentionHead | RemainingLengthHead | None,
    questions: Questions,
    config: FinetuningConfig,
) -> NextItem | PurchaseIntention | RemainingLength:
    """What trains any tower on these questions; the head is given the training part's share, or mean and spread."""
    targets = questions.drawn(np.random.default_rng([config.seed, 3])).targets
    if head is None:
        products = questions.corpus.products
        popularity = np.bincount(targets, minlength=products)
        return NextItem(
            tower,
            products,
            popularity=popularity,
            negatives=config.draws(products),
            repeats=config.repeats,
            every_place=config.every_place,
            by_hits=config.best_by == "hit@10",
        )
    targets = targets.astype(np.float64)
    if isinstance(head, PurchaseIntentionHead):
        head.purchase_share.fill_(targets.mean())
        return PurchaseIntention(tower, head)
    head.mean.fill_(targets.mean())
    head.spread.fill_(targets.std() or 1.0)
    return RemainingLength(tower, head)


def cached_interactions(
    interactions: TextInteractions, corpus: TokenizedCorpus, *, products_too: bool, progress: Progress = silent
) -> CachedInteractions:
    """Everything that stands in a session of the corpus, and with `products_too` every product alone."""
    actions, rows = corpus.sessions.actions.astype(np.int64), corpus.sessions.rows.astype(np.int64)
    if products_too:
        alone = np.arange(corpus.products)
        actions, rows = np.concatenate([actions, np.full(alone.size, NO_ACTION)]), np.concatenate([rows, alone])
    return CachedInteractions.of(interactions, actions, rows, progress)
