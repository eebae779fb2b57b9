"""A model as a folder of ONNX graphs, with all that another runtime needs to make the same vectors.

products.onnx      ids, mask -> unit vectors of products alone
interactions.onnx  ids, mask -> vectors of interactions
sessions.onnx      those vectors, mask -> unit vectors of sessions
tokenizer.json     of the tokenizers library
model.json         whose vectors they are, and the names and limits of what goes in

Where the model knows texts beside their words (`KnownTexts`) the first two take a third input, known, a vector for each
sequence. known_products.safetensors holds those of products.onnx by the keys of their texts, known_texts.safetensors
those of interactions.onnx. Zeros read any text by its words alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from safetensors.torch import save_file

from ubm_embed.data.text.bert_vocabulary import TOKENIZER_FILE
from ubm_embed.data.text.tokenizer import ACTION_MARKS, MAX_TOKENS
from ubm_embed.inference.runtimes.onnx_graphs import onnx_interactions, onnx_products, onnx_sessions
from ubm_embed.model.checkpoint import Checkpoint
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.outputs import output_folder
from ubm_embed.progress import Progress, silent

DESCRIPTION_FILE = "model.json"
PRODUCTS_FILE, INTERACTIONS_FILE, SESSIONS_FILE = "products.onnx", "interactions.onnx", "sessions.onnx"
KNOWN_TEXTS_FILE, KNOWN_PRODUCTS_FILE = "known_texts.safetensors", "known_products.safetensors"

_GRAPHS: dict[str, Callable[[UserBehaviorModel], bytes]] = {
    PRODUCTS_FILE: onnx_products,
    INTERACTIONS_FILE: onnx_interactions,
    SESSIONS_FILE: onnx_sessions,
}


def export_onnx(
    model: str | Path, out: str | Path, *, overwrite: bool = False, progress: Progress = silent
) -> Checkpoint:
    """Write the folder of a model folder's model, whole or not at all. Products are read by its product tower.

    Raises:
        NotFound: no model there, or what writes ONNX is not installed.
        InvalidData: it is damaged.
        Conflict: `out` is taken and `overwrite` is false, or is no folder.
    """
    checkpoint = Checkpoint.from_pretrained(model)
    with output_folder(out, overwrite=overwrite) as aside:
        for done, (name, graph) in enumerate(_GRAPHS.items()):
            progress("exporting graphs", done, len(_GRAPHS))
            reads = checkpoint.products if name == PRODUCTS_FILE else checkpoint
            (aside / name).write_bytes(graph(reads.model))
        checkpoint.tokenizer.save_pretrained(aside)
        for name, reads in ((KNOWN_TEXTS_FILE, checkpoint), (KNOWN_PRODUCTS_FILE, checkpoint.products)):
            known = reads.model.interaction_encoder.known
            if known is not None:
                save_file(known.state_dict(), aside / name)
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
        "actions": dict(zip(ACTION_MARKS, tokenizer.actions.tolist(), strict=True)),
        "cls": tokenizer.cls,
        "sep": tokenizer.sep,
        "known_texts": config.known_texts,
    }
