"""The formats in which vectors and models are handed to other engines."""

from __future__ import annotations

import enum


class ExportFormat(enum.StrEnum):
    """What is written: vectors of a version, or, as ONNX, a model."""

    PARQUET = "parquet"  # a file: product_id, and vector, a list of float32
    NPY = "npy"  # a folder: vectors.npy [M, D], and product_ids.csv with the id of each row
    FAISS = "faiss"  # a folder: index.faiss, and product_ids.csv with the id of each of its rows
    EMBEDDING_ATLAS = "embedding-atlas"  # a file for apple/embedding-atlas: a map with texts and neighbours, as Parquet
    PROJECTOR = "projector"  # a folder for TensorBoard's Embedding Projector: vectors.tsv and metadata.tsv
    ONNX = "onnx"  # a folder: a model's encoders as graphs, with its tokenizer

    @property
    def is_viewer(self) -> bool:
        """Whether it is for a tool in which people look at a space: such get a sample of the products."""
        return self in (ExportFormat.EMBEDDING_ATLAS, ExportFormat.PROJECTOR)
