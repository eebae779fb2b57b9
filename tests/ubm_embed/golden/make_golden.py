"""Makes the golden models and their outputs: `python -m tests.ubm_embed.golden.make_golden`.

Run it only when the meaning of a model changes on purpose: it replaces the vectors that `test_golden.py` compares with.
Two small models cover every part: `pip` is as the paper's (`[CLS]`, a session's mean, a projection), `rlp` as our
recipe's (mean of tokens, causal, item embeddings).
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from ubm_embed.data.corpus import PRODUCT_SCHEMA
from ubm_embed.data.session import Action, Interaction, Product, Session
from ubm_embed.data.tasks.task import Task
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.data.text.tokenizer import InteractionTokenizer, attribute_names, training_texts
from ubm_embed.inference.predictor import Predictor
from ubm_embed.model.checkpoint import Checkpoint, save_checkpoint
from ubm_embed.model.user_behavior_model import UserBehaviorModel

HERE = Path(__file__).parent
OUTPUTS = HERE / "outputs.json"
SIZES: dict[str, Any] = {
    "layers": 2,
    "width": 32,
    "dimension": 24,
    "session_layers": 2,
    "session_heads": 2,
    "max_interactions": 8,
}
MODELS: dict[Task, dict[str, Any]] = {
    Task.PIP: {},
    Task.RLP: {"causal": True, "mean_of_tokens": True},
}

PRODUCTS = [
    Product("red running shoes", "shoes", (("colour", "red"), ("size", "42"))),
    Product("blue running shoes for the long road", "shoes", (("colour", "blue"),)),
    Product("Crème brûlée bowl, 4-pack (white)", "kitchen"),
    Product("SOCKS"),
    Product("walking boots", "shoes", (("material", "leather"), ("size", "43"))),
    Product("a title that is much longer than thirty two tokens " * 5, "long"),
    Product("unseenword 3.14 ½ 日本", None, (("unknown attribute", "x"),)),
]
PHRASES = ["red shoes", "Boots, size 43", "zzz 日本"]


def view(row: int) -> Interaction:
    return Interaction(Action.VIEW, product=PRODUCTS[row])


SESSIONS = [
    Session((view(0),)),
    Session((Interaction(Action.SEARCH, query=PHRASES[0]), view(0), view(1), view(0))),
    Session((view(4), Interaction(Action.ADD, product=PRODUCTS[4]), Interaction(Action.BUY, product=PRODUCTS[4]))),
    Session((Interaction(Action.SEARCH, query=PHRASES[2]), view(6), view(2))),
    Session(tuple(view(row % 7) for row in range(11))),  # longer than the models read
]


def frame() -> pl.DataFrame:
    rows = [
        {
            "product_id": str(number),
            "title": product.title,
            "category": product.category,
            "attributes": [{"name": name, "value": value} for name, value in product.attributes],
        }
        for number, product in enumerate(PRODUCTS)
    ]
    return pl.DataFrame(rows, schema=PRODUCT_SCHEMA)


def tokens_of(tokenizer: InteractionTokenizer) -> dict[str, list[list[int]]]:
    """Token ids of the products and of the search phrases."""
    phrases = tokenizer.search_phrases(PHRASES)
    return {
        "products": [tokenizer.product_text(product).tolist() for product in PRODUCTS],
        "phrases": [phrases.row(row).tolist() for row in range(len(phrases))],
    }


def outputs_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """Everything that is compared: token ids, unit vectors [., D], h' [B, D], and the head's predictions [B]."""
    predictor = Predictor.from_checkpoint(checkpoint, device="cpu")
    embedder = predictor.embedder
    return {
        "tokens": tokens_of(checkpoint.tokenizer),
        "products": embedder.embed_products(frame()).tolist(),
        "sessions": embedder.embed_sessions(SESSIONS).tolist(),
        "encoded_sessions": embedder.encode_sessions(SESSIONS).tolist(),
        "predictions": predictor.predict(SESSIONS).tolist(),
    }


def make(task: Task, seed: int) -> None:
    products = frame()
    texts = list(training_texts(products, PHRASES))
    tokenizer = InteractionTokenizer.train(texts * 2, attribute_names(products), vocab_size=320)
    torch.manual_seed(seed)
    model = UserBehaviorModel.from_scratch(vocab_size=tokenizer.vocab_size, **SIZES, **MODELS[task])
    if task is Task.RLP:
        model.add_item_embeddings(
            TokenTable.from_rows([tokenizer.product_text(PRODUCTS[row]) for row in (0, 4)]), tokenizer
        )
    model = model.fine_tuned(task=task)
    with torch.no_grad():
        for name, parameter in model.named_parameters():  # fresh branches are silent, and item embeddings are 0
            parameter += (0.5 if name.startswith("head.") else 0.1) * torch.randn_like(parameter)
        for number, buffer in enumerate(model.head.buffers()):  # type: ignore[union-attr]
            buffer.fill_(0.3 + 2 * number)
    folder = HERE / str(task)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    save_checkpoint(folder, model.eval(), tokenizer, {})


def main() -> None:
    outputs = {}
    for seed, task in enumerate(MODELS):
        make(task, seed)
        outputs[str(task)] = outputs_of(Checkpoint.from_pretrained(HERE / str(task)))
        assert np.ptp(outputs[str(task)]["predictions"]) > 0.05, "the head must tell sessions apart"
    OUTPUTS.write_text(json.dumps(outputs, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
