"""What a user would write: FastAPI, sentence-transformers and FAISS, without a cache and without batches.

python benchmarks/serving/rival_server.py FOLDER PORT

FOLDER is made by `benchmarks.serving.rival_files`. A session is read as one text: the titles and phrases of its last
five interactions, newest first. It needs nothing of this project.
"""

import sys
from pathlib import Path

import faiss
import polars as pl
import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer

LAST = 5


class Interaction(BaseModel):
    """What a shopper did."""

    action: str
    product_id: str | None = None
    query: str | None = None


class Request(BaseModel):
    """A session that asks for products."""

    session_id: str | None = None
    interactions: list[Interaction]
    k: int = 10


class Match(BaseModel):
    """One product of an answer."""

    rank: int
    product_id: str
    score: float
    title: str
    category: str | None
    price: float | None


class Answer(BaseModel):
    """The products nearest to a session."""

    session_id: str | None
    matches: list[Match]


def create_app(folder: Path) -> FastAPI:
    """The service over one folder."""
    app = FastAPI()
    model = SentenceTransformer(str(folder / "model" / "sentence"), device="cpu")
    index = faiss.read_index(str(folder / "index.faiss"))
    products = pl.read_parquet(folder / "products.parquet").to_dicts()
    titles = {product["product_id"]: product["title"] for product in products}

    @app.get("/readyz")
    def ready() -> dict[str, bool]:
        return {"ready": True}

    # FastAPI runs it in a pool of threads.
    @app.post("/v1/recommend")
    def recommend(request: Request) -> Answer:
        texts = [one.query or titles.get(one.product_id or "", "") for one in reversed(request.interactions[-LAST:])]
        vector = model.encode([" ".join(texts)], normalize_embeddings=True, show_progress_bar=False)
        scores, rows = index.search(vector, request.k)
        matches = [
            Match(rank=rank, score=float(score), **products[row])
            for rank, (score, row) in enumerate(zip(scores[0], rows[0], strict=True), start=1)
        ]
        return Answer(session_id=request.session_id, matches=matches)

    return app


if __name__ == "__main__":
    torch.set_num_threads(1)
    uvicorn.run(create_app(Path(sys.argv[1])), port=int(sys.argv[2]), access_log=False, log_level="warning")
