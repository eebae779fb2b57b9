"""A model folder as ONNX graphs, with everything that another runtime needs to make the same vectors.

products.onnx      ids, mask -> unit vectors of products
interactions.onnx  ids, mask -> vectors of interactions
sessions.onnx      those vectors, mask -> unit vectors of sessions
tokenizer.json     of the tokenizers library
model.json         the model's id, and the names and limits of the inputs

If the model has `ItemEmbeddings`, the first two graphs take a third input, item_vectors, one vector per sequence.
product_item_embeddings.safetensors holds those for products.onnx by the keys of their texts, and
item_embeddings.safetensors those for interactions.onnx. Zeros read a text by its words alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from ubm_embed.data.text.tokenizer import MAX_TOKENS
from ubm_embed.data.text.vocabulary import TOKENIZER_FILE
from ubm_embed.inference.runtimes.encoder_graphs import interactions_graph, products_graph, sessions_graph
from ubm_embed.model.checkpoint import Checkpoint
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.outputs import output_folder
from ubm_embed.progress import Progress, silent

DESCRIPTION_FILE = "model.json"
PRODUCTS_FILE, INTERACTIONS_FILE, SESSIONS_FILE = "products.onnx", "interactions.onnx", "sessions.onnx"
ITEM_EMBEDDINGS_FILE = "item_embeddings.safetensors"
PRODUCT_ITEM_EMBEDDINGS_FILE = "product_item_embeddings.safetensors"

_GRAPHS: dict[str, Callable[[UserBehaviorModel], Any]] = {
    PRODUCTS_FILE: products_graph,
    INTERACTIONS_FILE: interactions_graph,
    SESSIONS_FILE: partial(sessions_graph, unit=True),
}


def export_onnx(
    model: str | Path, out: str | Path, *, overwrite: bool = False, progress: Progress = silent
) -> Checkpoint:
    """Write the ONNX folder of a model folder, whole or not at all. Its product tower reads the products.

    Raises:
        NotFound: there is no model, or the library that writes ONNX is not installed.
        InvalidData: the model is damaged, or has an activation without a counterpart in ONNX.
        Conflict: `out` exists and `overwrite` is false, or is not a folder.
    """
    checkpoint = Checkpoint.from_pretrained(model)
    with output_folder(out, overwrite=overwrite) as aside:
        for done, (name, graph) in enumerate(_GRAPHS.items()):
            progress("exporting graphs", done, len(_GRAPHS))
            tower = checkpoint.products if name == PRODUCTS_FILE else checkpoint
            (aside / name).write_bytes(graph(tower.model).SerializeToString())
        checkpoint.tokenizer.save_pretrained(aside)
        for name, tower in ((ITEM_EMBEDDINGS_FILE, checkpoint), (PRODUCT_ITEM_EMBEDDINGS_FILE, checkpoint.products)):
            embeddings = tower.model.interaction_encoder.item_embeddings
            if embeddings is not None:
                save_file(embeddings.state_dict(), aside / name)
        (aside / DESCRIPTION_FILE).write_text(json.dumps(_description(checkpoint), indent=2) + "\n", "utf-8")
        progress("exporting graphs", len(_GRAPHS), len(_GRAPHS))
    return checkpoint


def _description(checkpoint: Checkpoint) -> dict[str, object]:
    tokenizer, config = checkpoint.tokenizer, checkpoint.model.config
    return {
        "model_id": checkpoint.model_id,
        "product_model_id": checkpoint.products.model_id,
        "dimension": config.dimension,
        "max_tokens": MAX_TOKENS,
        "max_interactions": config.max_interactions,
        "tokenizer": TOKENIZER_FILE,
        "product": "[CLS] text [SEP]",
        "interaction": "[CLS] action text [SEP]",
        "actions": dict(zip(tokenizer.action_marks, tokenizer.actions.tolist(), strict=True)),
        "cls": tokenizer.cls,
        "sep": tokenizer.sep,
        "item_embeddings": config.num_item_embeddings,
    }
