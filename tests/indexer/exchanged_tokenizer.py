"""A model whose tokens were permuted behind its back."""

from __future__ import annotations

import json
from pathlib import Path


def exchange_tokens(model: Path) -> None:
    """Give each word of a model's vocabulary the number of another one. Its training record still names its id."""
    file = model / "tokenizer.json"
    document = json.loads(file.read_text("utf-8"))
    vocabulary = document["model"]["vocab"]
    words = [word for word in vocabulary if not word.startswith("[")]
    numbers = [vocabulary[word] for word in words]
    vocabulary.update(zip(words, [*numbers[1:], numbers[0]], strict=True))
    file.write_text(json.dumps(document), "utf-8")
