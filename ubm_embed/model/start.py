"""What training starts from: a fresh model, a BERT-like checkpoint, or a UBM that is trained further."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from ubm_embed.data.corpus import Corpus
from ubm_embed.data.removals import frequent_removals
from ubm_embed.data.text.tokenizer import InteractionTokenizer, attribute_names, training_texts
from ubm_embed.data.text.vocabulary import bert_vocabulary
from ubm_embed.errors import InvalidData, NotFound
from ubm_embed.model.checkpoint import Checkpoint
from ubm_embed.model.config import ARCHITECTURE, CONFIG_FILE, MAX_LAYERS
from ubm_embed.model.pooling import takes_mean_of_tokens
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.model.whitening import whiten

DEFAULT_VOCAB_SIZE = 8192
_PAPERS_LAYERS = 4


def fresh_model(
    corpus: Corpus,
    *,
    phrases: Iterable[str] | None = None,
    vocab: str | Path | None = None,
    vocab_size: int = DEFAULT_VOCAB_SIZE,
    seed: int = 0,
    **sizes: Any,
) -> tuple[UserBehaviorModel, InteractionTokenizer]:
    """A model with random weights, and a vocabulary learned from the corpus or taken from `vocab` (see `from_bert`).

    The vocabulary has a token for removals from the cart if the corpus has enough of them to learn it.

    Args:
        phrases: search phrases to learn the vocabulary from, besides the products' texts: those of
            `Split.training_phrases` leave out the test part. None takes those of every session.
        sizes: layers, width, and fields of `UBMConfig`.
    """
    names, removals = attribute_names(corpus.products), frequent_removals(corpus.interactions)
    if vocab is not None:
        tokenizer = InteractionTokenizer.from_bert(vocab, names, removals=removals)
    else:
        phrases = corpus.interactions["query"].drop_nulls() if phrases is None else phrases
        texts = training_texts(corpus.products, phrases)
        tokenizer = InteractionTokenizer.train(texts, names, vocab_size=vocab_size, removals=removals)
    torch.manual_seed(seed)
    return UserBehaviorModel.from_scratch(vocab_size=tokenizer.vocab_size, **sizes), tokenizer


def model_from_checkpoint(
    source: str, corpus: Corpus, *, seed: int = 0, **sizes: Any
) -> tuple[UserBehaviorModel, InteractionTokenizer]:
    """A model that starts from a checkpoint: from its first layers if it is BERT-like, from all of it if it is a UBM.

    A checkpoint of sentence-transformers is read as it was trained to be, at `[CLS]` or by the mean of its tokens. Its
    projection, and that of any BERT-like one that is read by the mean, starts as a whitening of the catalogue.

    Args:
        source: a folder, or a name on the hub.
        sizes: layers, and fields of `UBMConfig`; ignored for a UBM, which has its own.

    Raises:
        NotFound: neither a folder nor a name on the hub.
        InvalidData: not such a checkpoint.
    """
    folder = checkpoint_folder(source)
    if _is_ubm(folder):
        checkpoint = Checkpoint.from_pretrained(folder)
        if checkpoint.model.config.task is not None:
            problem = f"a model that was fine-tuned for {checkpoint.model.config.task}: start from a pre-trained one"
            raise InvalidData(problem, file=folder / CONFIG_FILE, field="task")
        return checkpoint.model, checkpoint.tokenizer
    pools_mean = takes_mean_of_tokens(folder)
    if pools_mean is not None:
        sizes["mean_of_tokens"] = pools_mean
    removals = frequent_removals(corpus.interactions)
    tokenizer = InteractionTokenizer.from_bert(folder, attribute_names(corpus.products), removals=removals)
    torch.manual_seed(seed)  # for the session encoder, and a projection
    model = UserBehaviorModel.from_bert(folder, vocab_size=tokenizer.vocab_size, **sizes)
    _start_marks(model, tokenizer, len(bert_vocabulary(folder)[0]))
    # A plain BERT has learned nothing at [CLS] that would be worth setting apart.
    if pools_mean is not None or model.config.mean_of_tokens:
        whiten(model, tokenizer, tokenizer.product_texts(corpus.products), seed=seed)
    return model, tokenizer


def layers_of_checkpoint(source: str) -> int:
    """How many layers a model takes of a checkpoint unless told otherwise: all that were trained to read sentences.

    Of a plain BERT four, as in the paper.

    Raises:
        NotFound, InvalidData: as `model_from_checkpoint`.
    """
    return _PAPERS_LAYERS if takes_mean_of_tokens(checkpoint_folder(source)) is None else MAX_LAYERS


def _start_marks(model: UserBehaviorModel, tokenizer: InteractionTokenizer, known: int) -> None:
    """Start each token beyond the checkpoint's as the mean of the words in its name: `[SHOE SIZE]` as "shoe size"."""
    marks = range(known, tokenizer.vocab_size)
    names = tokenizer.search_phrases([mark.strip("[]").lower() for mark in tokenizer.tokens(marks)])
    table = model.interaction_encoder.encoder.get_input_embeddings().weight
    with torch.no_grad():
        for mark, row in zip(marks, range(len(names)), strict=True):
            words = names.row(row)
            if words.size and tokenizer.unknown not in words:
                table[mark] = table[torch.from_numpy(words).long()].mean(dim=0)


# Older checkpoints, BERT_mini among them, have no safetensors; torch reads theirs without running pickled code.
_HUB_FILES = ["*.json", "*.txt", "*.safetensors", "pytorch_model.bin"]


def checkpoint_folder(source: str) -> Path:
    """The folder of a checkpoint; a name on the hub is downloaded into the hub's cache.

    Raises:
        NotFound: neither a folder nor a name on the hub.
    """
    if Path(source).is_dir():
        return Path(source)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(snapshot_download(source, allow_patterns=_HUB_FILES))
    except (OSError, HFValidationError, ValueError) as error:  # no network, no such name, or not a name
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise NotFound(f"no checkpoint {source!r}: not a folder, and the hub has none ({reason})") from None


def _is_ubm(folder: Path) -> bool:
    file = folder / CONFIG_FILE
    if not file.is_file():
        raise NotFound(f"no checkpoint at {folder}: {CONFIG_FILE} is missing")
    try:
        return bool(json.loads(file.read_text("utf-8")).get("architecture") == ARCHITECTURE)
    except (ValueError, AttributeError, RecursionError) as error:
        raise InvalidData(f"not a model configuration: {error}", file=file) from None
