"""A shop in which a few steps of training gain something for each task, and tiny models to start from."""

import itertools

import numpy as np
import polars as pl
import pytest
import torch

from tests.rounding import LAYER, rounding_error
from tests.ubm_embed.training.conftest import interactions
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.corpus import PRODUCT_SCHEMA, Corpus
from ubm_embed.data.tasks.dataset import TaskDataset
from ubm_embed.data.tasks.split import Split
from ubm_embed.data.tasks.task import Task
from ubm_embed.inference.embedder import Embedder
from ubm_embed.model.checkpoint import Checkpoint, save_checkpoint
from ubm_embed.model.tower import TEMPERATURE
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.training.finetuning.config import FinetuningConfig
from ubm_embed.training.finetuning.finetune import finetune

PRODUCTS = 24
SETTINGS = {
    "batch": 8,
    "max_steps": 7,
    "learning_rate": 1e-2,
    "validation_steps": 2,
    "holdout": 0.5,
    "precision": "float32",
}
NIP = FinetuningConfig(task=Task.NIP, max_per_session=2, min_count=1, selection_metric="hit@10", **SETTINGS)
BOTH = NIP.replace(train_products=True, learning_rate=3e-3)
SEQUENCES = BOTH.replace(all_positions=True, item_embeddings=True)
PIP, RLP = (FinetuningConfig(task=task, min_interactions=1, **SETTINGS) for task in (Task.PIP, Task.RLP))
FILES = [
    "config.json",
    "graphs",
    "metrics.jsonl",
    "model.safetensors",
    "tokenizer.json",
    "training.json",
    "training_ids.safetensors",
]


# Losses of these models: one layer of each encoder, of width up to 64, over the temperature.
LOSS_ROUNDING = rounding_error(2 * LAYER, length=64) / TEMPERATURE


def weights_of(checkpoint, part):
    """The weights whose names begin with `part`."""
    return {name: value for name, value in checkpoint.model.state_dict().items() if name.startswith(part)}


def equal(first, second):
    """Whether two models' weights are the same."""
    assert first.keys() == second.keys()
    return all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.fixture(scope="module")
def corpus_of():
    """A maker of corpora of a shop with more products than the ten of hit@10, of words the tokenizer knows."""
    colours, kinds = ("red", "blue", "leather", "walking"), ("shoes", "shirt", "boots", "belt", "socks", "road")
    rows = [
        {"product_id": f"p{number + 1}", "title": f"{colour} {kind}", "category": None, "attributes": []}
        for number, (kind, colour) in enumerate(itertools.product(kinds, colours))
    ]
    wide = pl.DataFrame(rows, schema=PRODUCT_SCHEMA)
    return lambda sessions: Corpus(wide, interactions(sessions))


@pytest.fixture(scope="module")
def corpus(corpus_of):
    """Sixty sessions in which a few steps of training gain something for each task."""
    rng = np.random.default_rng(5)
    sessions = []
    for number in range(60):
        # Products follow each other in a ring, and only short sessions begin with p1.
        length = int(rng.integers(3, 9))
        start = 0 if length < 5 else int(rng.integers(1, PRODUCTS))
        session = [("view", f"p{(start + place) % PRODUCTS + 1}") for place in range(length)]
        if number % 3 == 0:
            session = [*(("add", product) for _, product in session[:-1]), ("buy", session[-1][1])]
        sessions.append([("search", "red shoes"), *session] if number % 2 else session)
    return corpus_of(sessions)


@pytest.fixture(scope="module")
def tokenized(corpus, tokenizer):
    return TokenizedCorpus.from_corpus(corpus, tokenizer)


@pytest.fixture(scope="module")
def dataset_of(tokenized):
    """A maker of the dataset that a configuration asks for; half of the sessions are held out."""

    def dataset_of(config):
        split = Split.choose(tokenized, holdout=0.5)
        return TaskDataset.from_split(config.task, tokenized, split, **config.dataset_settings)

    return dataset_of


@pytest.fixture(scope="module")
def base(tokenizer, tmp_path_factory):
    """A tiny model in a folder, in which every layer does something; no test may change it."""
    return saved(tokenizer, tmp_path_factory.mktemp("base") / "model")


@pytest.fixture(scope="module")
def causal(tokenizer, tmp_path_factory):
    """The same, as the recipe for shops makes it: causal, and an interaction is the mean of its tokens."""
    return saved(tokenizer, tmp_path_factory.mktemp("causal") / "model", causal=True, mean_of_tokens=True)


def saved(tokenizer, folder, **settings):
    torch.manual_seed(0)
    sizes = {"layers": 1, "width": 16, "dimension": 16, "session_layers": 1}
    model = UserBehaviorModel.from_scratch(vocab_size=tokenizer.vocab_size, **sizes, **settings)
    with torch.no_grad():
        for weights in model.parameters():
            weights += 0.1 * torch.randn_like(weights)
    folder.mkdir()
    save_checkpoint(folder, model, tokenizer, {"pretraining": {"seed": 7}})
    return Checkpoint.from_pretrained(folder)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "model"


@pytest.fixture
def tune(corpus, base, out):
    """Fine-tune the base model into `out`."""

    def tune(config=NIP, *, corpus=corpus, base=base, out=out, **settings):
        return finetune(corpus, base, out, config, **settings)

    return tune


@pytest.fixture
def read(tokenized, corpus):
    """Vectors of the toy shop's products and of all its sessions by a model."""

    def read(checkpoint):
        embedder = Embedder(checkpoint, device="cpu")
        return embedder.embed_products(corpus.products), embedder.embed_table(tokenized.texts, tokenized.sessions)

    return read
