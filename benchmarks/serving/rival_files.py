"""What the rival service needs: our interaction encoder as a model of sentence-transformers, and an index of FAISS."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.serving.serving_shop import ServingShop
from indexer.export.formats import ExportFormat
from indexer.export.vectors import VECTORS_FILE, export_vectors
from ubm_embed.data.arrays import FloatArray
from ubm_embed.outputs import output_folder

# With which FAISS finds 0.99 of the ten nearest of a million, as `benchmarks.retrieval.index_kinds` measured.
_NPROBE = 32
_PRODUCT_IDS = "product_ids.csv"


def make_rival(shop: ServingShop) -> Path:
    """Make the rival's folder if there is none: `model`, `index.faiss` and `products.parquet`, in the index's order."""
    folder = shop.folder / "rival"
    if folder.exists():
        return folder
    with output_folder(folder) as aside:
        _write_model(shop.model, aside / "model")
        export_vectors(shop.store, aside / "npy", ExportFormat.NPY)
        _write_index(np.load(aside / "npy" / VECTORS_FILE, mmap_mode="r"), aside / "index.faiss")
        _write_products(shop, aside / "npy" / _PRODUCT_IDS, aside / "products.parquet")
    return folder


def _write_model(ours: Path, folder: Path) -> None:
    """Our interaction encoder and its words; it reads [CLS] text [SEP] and takes the vector of [CLS]."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer
    from tokenizers import Tokenizer
    from tokenizers.processors import TemplateProcessing
    from torch import nn
    from transformers import BertModel, PreTrainedTokenizerFast

    from ubm_embed.data.text.tokenizer import MAX_TOKENS
    from ubm_embed.data.text.vocabulary import TOKENIZER_FILE
    from ubm_embed.model.checkpoint import Checkpoint

    interactions = Checkpoint.from_pretrained(ours).model.interaction_encoder
    bert = BertModel(interactions.encoder.config, add_pooling_layer=False)
    bert.load_state_dict(interactions.encoder.state_dict())
    bert.save_pretrained(folder / "bert")
    words = Tokenizer.from_file(str(ours / TOKENIZER_FILE))
    marks = [(mark, words.token_to_id(mark)) for mark in ("[CLS]", "[SEP]")]
    words.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=marks)
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, model_max_length=MAX_TOKENS, **names)  # type: ignore[no-untyped-call]
    tokenizer.save_pretrained(folder / "bert")
    parts = [Transformer(str(folder / "bert"), max_seq_length=MAX_TOKENS)]
    parts.append(Pooling(bert.config.hidden_size, pooling_mode="cls"))
    if isinstance(linear := interactions.projection, nn.Linear):
        dense = Dense(linear.in_features, linear.out_features, activation_function=nn.Identity())
        dense.linear.load_state_dict(linear.state_dict())
        parts.append(dense)
    SentenceTransformer(modules=[*parts, Normalize()], device="cpu").save(str(folder / "sentence"))


def _write_index(vectors: FloatArray, file: Path) -> None:
    """FAISS's own index for so many vectors: lists of full vectors."""
    import faiss

    index = faiss.index_factory(
        vectors.shape[1], f"IVF{4 * round(len(vectors) ** 0.5)},Flat", faiss.METRIC_INNER_PRODUCT
    )
    index.train(np.ascontiguousarray(vectors[:: max(1, len(vectors) // 200_000)]))
    index.add(np.ascontiguousarray(vectors))
    faiss.ParameterSpace().set_index_parameter(index, "nprobe", _NPROBE)
    faiss.write_index(index, str(file))


def _write_products(shop: ServingShop, order: Path, file: Path) -> None:
    """What the rival shows of each product."""
    products = pl.read_parquet(shop.corpus / "products.parquet", columns=["product_id", "title", "category", "price"])
    names = pl.read_csv(order, infer_schema=False).select("product_id")
    names.join(products, on="product_id", how="left", maintain_order="left").write_parquet(file)
