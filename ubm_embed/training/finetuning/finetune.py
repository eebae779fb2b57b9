"""Fine-tuning for a task (paper 3.4, 4.2.2), seeded, repeatable and resumable."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ubm_embed.data.arrays import IntArray
from ubm_embed.data.batches.distinct_batches import NO_ACTION
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.tasks.dataset import TaskDataset
from ubm_embed.data.tasks.leaks import LeakReport, pretraining_problem
from ubm_embed.data.tasks.session_features import FEATURES
from ubm_embed.data.tasks.split import Split, is_refit
from ubm_embed.data.tasks.task import Task
from ubm_embed.data.tasks.training_ids import TrainingIds
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.errors import Conflict, InvalidData
from ubm_embed.evaluation.head_baselines import NUM_TREES
from ubm_embed.inference.embedder import Embedder
from ubm_embed.inference.runtimes.graph_writer import write_graphs
from ubm_embed.model.checkpoint import Checkpoint, save_checkpoint
from ubm_embed.model.folder import require_task
from ubm_embed.model.heads import Head
from ubm_embed.model.tower import TextInteractions, Tower, UBMTower
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.outputs import output_folder, require_free
from ubm_embed.progress import Notice, Progress, silent, unsaid
from ubm_embed.training.finetuning.config import HOLDOUT, FinetuningConfig
from ubm_embed.training.finetuning.count_weights import fitted_count_weights
from ubm_embed.training.finetuning.finetuner import Finetuner
from ubm_embed.training.finetuning.head_objectives import HeadObjective, head_objective
from ubm_embed.training.finetuning.interactions import interactions_of
from ubm_embed.training.finetuning.neighbour_vectors import neighbour_vectors
from ubm_embed.training.finetuning.objectives import NextItem, next_item_epoch
from ubm_embed.training.finetuning.refit import StepsFound, refit
from ubm_embed.training.metrics_file import METRICS_FILE
from ubm_embed.training.run import TrainingRun
from ubm_embed.training.tracking.tracker import Tracker
from ubm_embed.training.tracking.tracking import tracked

# What a single session says of a product is no reason to set it apart from its words.
MIN_ITEM_COUNT = 2
# The length of a new item embedding is the mean length of this many products' vectors.
_MEASURED = 200


def finetune(
    corpus: Corpus,
    checkpoint: Checkpoint,
    out: str | Path,
    config: FinetuningConfig,
    *,
    device: torch.device | str = "cpu",
    overwrite: bool = False,
    resume: bool = False,
    restart: bool = False,
    progress: Progress = silent,
    trackers: Sequence[Tracker] = (),
    notice: Notice = unsaid,
) -> Checkpoint:
    """Fine-tune a model for a task and write it to the folder `out`, with its metrics and leak report.

    For next item prediction the result is a session tower beside the product tower that it scores against; with
    `train_products` it is one model for both.

    Args:
        overwrite: replace what is at `out`; an unfinished run is not touched.
        resume: continue the unfinished run.
        restart: discard the unfinished run, if there is one, and start over.
        trackers: get what is logged as well.
        notice: is told when a tracker fails, or the model has learned from the validation part; training goes on.

    Raises:
        Conflict: `out` is taken, another run is writing to it, a run is unfinished or does not fit, or the model has
            another split than the settings ask for.
        InvalidData: the corpus cannot pose the task, the model was fine-tuned for another one, or is to predict at all
            positions and is not causal.
        NotFound: there is no run to resume.
        QualityGateFailed: a loss or its gradient was not finite. Nothing is written to `out`; the last saved state, if
            there is one, stays in `OUT.training`.
        ValueError: both `resume` and `restart` are set; or next item prediction with fixed products, by a model that
            was opened from no folder: its product tower cannot be copied.
    """
    out = Path(out)
    require_free(out, overwrite=overwrite)
    with TrainingRun.lock(out):
        TrainingRun.check(out, resume=resume, restart=restart)
        _require_product_tower(checkpoint, config)
        tokenized = TokenizedCorpus.from_corpus(corpus, checkpoint.tokenizer)
        split, problem = agreed_split(checkpoint, tokenized, config)
        if is_refit(checkpoint.record) and checkpoint.record.get("corpus") == tokenized.fingerprint():
            notice(
                "the model was refitted with the validation part, which now looks better predicted than new sessions "
                "will be: start from the pre-trained model, or fine-tune with --no-refit first"
            )
        dataset = TaskDataset.from_split(config.task, tokenized, split, **config.dataset_settings)
        # Both raise what they lack before any work.
        dataset.unbalanced_training(np.random.default_rng(config.seed))
        dataset.validation(max_examples=config.max_validation_examples, seed=config.seed)
        origin = {"corpus": tokenized.fingerprint(), "initial_model": checkpoint.model_id}
        settings = config.model_dump(mode="json")
        run = TrainingRun.open(out, settings | origin, resume=True) if resume else None
        model, objective = objective_of(corpus, checkpoint, dataset, config, device, progress)
        tuner = Finetuner(objective, dataset, config, progress)
        # Not before: what cannot be trained leaves no run behind, and discards none.
        run = run or TrainingRun.open(out, settings | origin, restart=restart)
        started, weights, refit_steps = time.monotonic(), None, 0
        with tracked(run, trackers, settings | origin, notice):
            best = tuner.train(run)
            if isinstance(objective, NextItem):
                weights = fitted_count_weights(objective, dataset, tuner.validation, progress)
            if config.refit and best.step:
                found = StepsFound.from_finetuner(tuner)
                del tuner, objective, model  # before there is another one in memory
                parts = split.parts(tokenized, refit=True)
                dataset = TaskDataset.from_parts(config.task, tokenized, parts, split.kind, **config.dataset_settings)
                model, objective = objective_of(corpus, checkpoint, dataset, config, device, progress)
                refit_steps = refit(objective, dataset, config, found, run, progress)
        tuned = {"refit_steps": refit_steps, "seconds": round(time.monotonic() - started, 1)}
        leaks = LeakReport.from_split(corpus, tokenized, split, pretraining_problem=problem, refit=bool(refit_steps))
        record = {
            **checkpoint.record,
            **origin,
            "finetuning": settings | best.to_dict() | tuned,
            "split": split.to_dict(),
            "leaks": leaks.to_dict(),
        }
        with output_folder(out, overwrite=overwrite) as folder:
            tower = checkpoint.products if model.config.product_tower else None
            save_checkpoint(folder, model.cpu(), checkpoint.tokenizer, record, tower)
            ids = TrainingIds.from_split(corpus, tokenized, split)
            earlier = None if checkpoint.folder is None else TrainingIds.load(checkpoint.folder)
            (ids if earlier is None else ids.union(earlier)).save(folder)
            shutil.copy(run.metrics, folder / METRICS_FILE)
            if weights is not None:
                weights.save(folder)
        write_graphs(out)
        run.discard()
    return Checkpoint.from_pretrained(out)


def _require_product_tower(checkpoint: Checkpoint, config: FinetuningConfig) -> None:
    """Raise InvalidData or ValueError where next item prediction has no product tower to score against."""
    if config.task is Task.NIP:
        require_task(checkpoint, Task.NIP)
        if not config.train_products and checkpoint.products.folder is None:
            raise ValueError("the product tower is copied from its folder, and this model has none")


def agreed_split(checkpoint: Checkpoint, corpus: TokenizedCorpus, config: FinetuningConfig) -> tuple[Split, str | None]:
    """The split that the model was pre-trained with, or a new one; and why pre-training may have read its test part.

    Raises:
        Conflict: the settings ask for another split than the model's: pre-training may have read its test part.
        InvalidData: a split by time, and a session has no timestamp; or a damaged record.
    """
    recorded = Split.from_record(checkpoint.record, corpus)
    if recorded is None or not recorded.holdout:
        other = "another corpus" if "corpus" in checkpoint.record else "unknown"
        holdout = HOLDOUT if config.holdout is None else config.holdout
        chosen = Split.choose(corpus, holdout=holdout, kind=config.split)
        return chosen, other if recorded is None else "it saw every session"
    if config.split not in ("auto", recorded.kind) or config.holdout not in (None, recorded.holdout):
        raise Conflict(
            f"the model was pre-trained with a split by {recorded.kind} that holds out {recorded.holdout:g}; another "
            "would test it on sessions that it has read"
        )
    # A model that was fine-tuned before keeps that split; its record says what pre-training had read.
    return recorded, pretraining_problem(checkpoint.record)


def objective_of(
    corpus: Corpus,
    checkpoint: Checkpoint,
    dataset: TaskDataset,
    config: FinetuningConfig,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
    *,
    min_item_count: int = MIN_ITEM_COUNT,
) -> tuple[UserBehaviorModel, NextItem | HeadObjective]:
    """A copy of the model with a head, and the objective that trains its weights.

    Args:
        min_item_count: products that training sees at least this often get an item embedding.

    Raises:
        InvalidData: the model is to predict at all positions, and is not causal.
    """
    torch.manual_seed(config.seed)  # the head's
    frozen = config.task is Task.NIP and not config.train_products
    tower_id = checkpoint.products.model_id if frozen else None
    features = len(FEATURES) if config.session_features else 0
    trees = NUM_TREES if config.session_features and config.task is Task.PIP else 0
    model = checkpoint.model.fine_tuned(
        task=config.task, product_tower=tower_id, head_features=features, head_trees=trees
    ).to(device)
    if config.all_positions and not model.config.causal:
        raise InvalidData(
            "only a causal session encoder can predict at all positions of a session in one pass, and this model's "
            "is not causal: pre-train with --recipe shop, or fine-tune with --one-position or --recipe paper"
        )
    if config.item_embeddings:
        seen = np.flatnonzero(dataset.counts >= min_item_count)
        _add_item_embeddings(model, checkpoint.tokenizer, dataset, seen, config.seed, progress)
    elif config.task is Task.NIP and config.train_products:
        model.remove_item_embeddings()
    if config.read_texts_every not in (None, 1):
        model.add_projection()  # else nothing could be learned about texts where they are not read
    model.set_item_dropout(config.item_embedding_dropout)
    vectors = None
    if frozen:
        embedded = Embedder(checkpoint, device=str(device)).embed_products(corpus.products, progress=progress)
        vectors = torch.from_numpy(embedded).to(device)
    if config.only_head:
        model.interaction_encoder.requires_grad_(False)
        model.session_encoder.requires_grad_(False)
    interactions = interactions_of(model, checkpoint.tokenizer, dataset.corpus, config, progress)
    return model, task_objective(UBMTower(model, interactions, vectors), model.head, dataset, config)


def _add_item_embeddings(
    model: UserBehaviorModel,
    tokenizer: InteractionTokenizer,
    dataset: TaskDataset,
    products: IntArray,
    seed: int,
    progress: Progress,
) -> None:
    """Add an embedding for each of these products [K]. New ones start as long as what the model reads from the words.

    In a model without any, they start near the products that stand beside theirs in sessions; where some are trained
    already, the others start at 0: such a start would lie in a space of its own.
    """
    corpus, start = dataset.corpus, None
    if products.size and not model.config.num_item_embeddings:
        sample = products[:: math.ceil(products.size / _MEASURED)]
        model.eval()
        read = TextInteractions(model.interaction_encoder, tokenizer, corpus.texts)
        with torch.no_grad():
            length = read(np.full(sample.size, NO_ACTION), sample).norm(dim=1).mean().item()
        sessions, dimension = dataset.parts.training, model.config.dimension
        start = neighbour_vectors(
            sessions, corpus.products, products, dimension, length=length, seed=seed, progress=progress
        )
    model.add_item_embeddings(corpus.texts.take(products), tokenizer, start)


def task_objective(
    tower: Tower,
    head: Head | None,
    dataset: TaskDataset,
    config: FinetuningConfig,
) -> NextItem | HeadObjective:
    """The objective that trains a tower for the task; sets the head's statistics of the training targets."""
    rng = np.random.default_rng([config.seed, 3])
    if head is None:
        products = dataset.corpus.products
        # logQ corrects for how often a step has each answer, so the counts are those of the examples that it reads.
        examples = next_item_epoch(dataset, rng, tower, all_positions=config.all_positions)
        popularity = np.bincount(examples.targets, minlength=products)
        return NextItem(
            tower,
            products,
            popularity=popularity,
            negatives=config.num_negatives(products),
            repeats=config.repeats,
            all_positions=config.all_positions,
            by_hits=config.selection_metric == "hit@10",
        )
    return head_objective(tower, head, dataset, rng, all_positions=config.all_positions)
