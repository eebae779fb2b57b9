"""The User Behavior Model: both encoders (paper 3.1), from token ids to session vectors.

Letters: B sessions with I interactions in all, N distinct interactions, T slots for the tokens of all of them, E width
of the interaction encoder, D width of the model (256).
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from ubm_embed.data.batches.packing import SessionBatch, TokenBatch
from ubm_embed.data.tasks.task import Task
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.model.bert import (
    BertLike,
    bert_config,
    built_encoder,
    encoder_config,
    load_bert,
    stable_settings,
)
from ubm_embed.model.config import CONFIG_FILE, UBMConfig
from ubm_embed.model.folder import WEIGHTS_FILE
from ubm_embed.model.heads import build_head
from ubm_embed.model.item_embeddings import ItemEmbeddings
from ubm_embed.model.session_encoder import SessionEncoder
from ubm_embed.model.transformer import (
    Affine,
    computing_format,
    dropout,
    layers_from_modules,
    run_layers,
    run_to_first,
    zero_branches,
)
from ubm_embed.model.weights import load_model, save_weights


class InteractionEncoder(nn.Module):
    """The low level (paper 3.1.2): a BERT-like encoder from an interaction's text to b'.

    b' is the `[CLS]`'s output, projected if the encoder is not D wide.

    Args:
        encoder: its configuration, for random weights, or an encoder with weights. A projection starts at random.
        mean_of_tokens: b' is the mean over all tokens instead. A pre-trained encoder has learned more about it, and a
            fresh one learns faster, as it then starts as the mean of its words.
        projected: project the output of an encoder that is D wide too.
    """

    def __init__(
        self, encoder: BertLike, dimension: int, *, mean_of_tokens: bool = False, projected: bool = False
    ) -> None:
        super().__init__()
        self.encoder: Any = built_encoder(encoder)
        projected = projected or self.width != dimension
        self.projection = nn.Linear(self.width, dimension) if projected else nn.Identity()
        self.mean_of_tokens = mean_of_tokens
        self.item_embeddings: ItemEmbeddings | None = None

    @property
    def width(self) -> int:
        """The width of what is read from a text, E."""
        return int(self.encoder.config.hidden_size)

    @property
    def vocab_size(self) -> int:
        """The number of token ids with an embedding, V."""
        return int(self.encoder.get_input_embeddings().weight.shape[0])

    def forward(self, tokens: TokenBatch) -> Tensor:
        """N interactions -> b' [N, D], in the order of the batch's sequences."""
        vectors, extra = self.project(self.read_text(tokens)), self.item_embeddings
        return vectors if extra is None else vectors + cast(Tensor, extra(tokens)).to(vectors.dtype)

    def read_text(self, tokens: TokenBatch) -> Tensor:
        """What the encoder reads from the words of N interactions, before the projection: [N, E]."""
        hidden, packing = self._embed(tokens.ids, tokens.packing.positions), tokens.packing
        layers = layers_from_modules(self.encoder.encoder.layer, hidden.dtype, last_at_first=not self.mean_of_tokens)
        if self.mean_of_tokens:
            return packing.mean(run_layers(layers, hidden, packing)).to(hidden.dtype)
        return run_to_first(layers, hidden, packing)

    def project(self, read: Tensor) -> Tensor:
        """b' from words alone, given what was read from them: [N, E] -> [N, D]."""
        return cast(Tensor, self.projection(read))

    def hidden(self, tokens: TokenBatch) -> Tensor:
        """The encoder's output at every token, as masked words are predicted from: [T, E], in packed order."""
        hidden = self._embed(tokens.ids, tokens.packing.positions)
        return run_layers(layers_from_modules(self.encoder.encoder.layer, hidden.dtype), hidden, tokens.packing)

    def start_as_words(self) -> None:
        """Zero every branch beside the residual stream, so that a fresh encoder is the mean of its words."""
        zero_branches(self.encoder)

    def _embed(self, ids: Tensor, positions: Tensor) -> Tensor:
        """Words, positions and the first token type: [..., E], in the format to compute in."""
        table = self.encoder.embeddings
        words = embedding(ids, table.word_embeddings.weight, table.word_embeddings.padding_idx)
        joined = words + embedding(positions, table.position_embeddings.weight) + table.token_type_embeddings.weight[0]
        dtype = computing_format(joined)
        normed = Affine.from_modules(torch.float32, table.LayerNorm).norm(joined, table.LayerNorm.eps).to(dtype)
        hidden = dropout(normed, table.dropout.p if self.encoder.training else 0.0)
        if hasattr(self.encoder, "embeddings_project"):  # ELECTRA's, if its embeddings are narrower
            hidden = Affine.from_modules(dtype, self.encoder.embeddings_project).linear(hidden)
        return hidden


class UserBehaviorModel(nn.Module):
    """Sessions to vectors; a product is a session of length 1 without an action token (paper 3.4.3)."""

    def __init__(self, config: UBMConfig, interaction_encoder: InteractionEncoder) -> None:
        super().__init__()
        self.config = config
        self.interaction_encoder = interaction_encoder
        self.session_encoder = SessionEncoder(
            dimension=config.dimension,
            layers=config.session_layers,
            heads=config.session_heads,
            dropout=config.dropout,
            max_interactions=config.max_interactions,
            causal=config.causal,
        )
        task, sizes = config.task, (config.dimension, config.head_features, config.head_trees)
        self.head = None if task is None else build_head(Task(task), *sizes)

    @classmethod
    def from_scratch(
        cls, *, vocab_size: int, layers: int = 4, width: int = 256, dropout: float = 0.1, **settings: Any
    ) -> Self:
        """A model with random weights from torch's generator, in the paper's sizes. `settings` are `UBMConfig`'s."""
        bert = bert_config(vocab_size=vocab_size, layers=layers, width=width, dropout=dropout)
        config = UBMConfig(dropout=dropout, interaction_encoder=stable_settings(bert.to_dict()), **settings)
        model = cls._around(bert, config)
        if config.mean_of_tokens:
            model.interaction_encoder.start_as_words()
        return model

    @classmethod
    def from_bert(
        cls, source: str | Path, *, vocab_size: int, layers: int = 4, dropout: float = 0.1, **settings: Any
    ) -> Self:
        """A model whose interaction encoder is the first `layers` layers of a BERT or ELECTRA checkpoint, else fresh.

        Args:
            source: a folder, or a name on the hub.
            vocab_size: of the tokenizer; a checkpoint with more tokens keeps them.
            settings: `UBMConfig`'s.

        Raises:
            NotFound: no such checkpoint, or one without weights.
            InvalidData: not such a checkpoint, or a damaged one.
        """
        encoder = load_bert(str(source), layers=layers, vocab_size=vocab_size, dropout=dropout)
        config = UBMConfig(dropout=dropout, interaction_encoder=stable_settings(encoder.config.to_dict()), **settings)
        return cls._around(encoder, config)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """The model in a folder that `save_pretrained` wrote, on the CPU, ready for inference.

        Raises:
            NotFound: a file is missing.
            InvalidData: names the file: not our configuration, truncated weights, or weights that do not fit.
        """
        config_file = Path(folder) / CONFIG_FILE
        config = UBMConfig.load(config_file)
        return load_model(
            lambda: cls._around(encoder_config(config.interaction_encoder), config),
            Path(folder) / WEIGHTS_FILE,
            config_file=config_file,
        ).eval()

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json and model.safetensors into an existing folder."""
        self.config.save(Path(folder) / CONFIG_FILE)
        save_weights(self, Path(folder) / WEIGHTS_FILE)

    def forward(self, batch: SessionBatch) -> Tensor:
        """B sessions -> h' [B, D]. Each distinct interaction of the batch is encoded once."""
        distinct: Tensor = self.interaction_encoder(batch.tokens)
        return cast(Tensor, self.session_encoder(distinct[batch.index], batch.packing))

    def fine_tuned(
        self, *, task: Task, product_tower: str | None = None, head_features: int = 0, head_trees: int = 0
    ) -> Self:
        """A copy for a task, with a fresh head if it needs one; the other arguments are fields of `UBMConfig`."""
        config = self.config.replace(
            task=task, product_tower=product_tower, head_features=head_features, head_trees=head_trees
        )
        copy = type(self)(config, deepcopy(self.interaction_encoder))
        copy.session_encoder.load_state_dict(self.session_encoder.state_dict())
        return copy.to(self.device)

    def add_item_embeddings(
        self, texts: TokenTable, tokenizer: InteractionTokenizer, start: Tensor | None = None
    ) -> None:
        """Add a vector for each of K product texts, besides those that it has (see `ItemEmbeddings`).

        Args:
            start: [K, D], the initial value of the new ones; None for 0, which changes no output.
        """
        encoder = self.interaction_encoder
        added = ItemEmbeddings.from_texts(texts, tokenizer, encoder.item_embeddings, self.config.dimension, start)
        if added.keys.numel():
            encoder.item_embeddings = added.to(self.device)
            counts = {"num_item_embeddings": added.keys.numel(), "num_actions": tokenizer.actions.size}
            self.config = self.config.replace(**counts)

    def add_projection(self) -> None:
        """Add a projection where the encoder is as wide as the model; it starts as the identity."""
        encoder = self.interaction_encoder
        if isinstance(encoder.projection, nn.Identity):
            encoder.projection = nn.Linear(encoder.width, encoder.width).to(self.device)
            nn.init.eye_(encoder.projection.weight)
            nn.init.zeros_(encoder.projection.bias)
            self.config = self.config.replace(projected=True)

    def remove_item_embeddings(self) -> None:
        """Read every text by its words alone from now on."""
        self.interaction_encoder.item_embeddings = None
        self.config = self.config.replace(num_item_embeddings=0)

    def set_item_dropout(self, rate: float) -> None:
        """Set the rate at which training reads a text of a batch by its words alone."""
        if self.interaction_encoder.item_embeddings is not None:
            self.interaction_encoder.item_embeddings.dropout = rate

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.parameters()).device

    @classmethod
    def _around(cls, encoder: BertLike, config: UBMConfig) -> Self:
        reader = InteractionEncoder(
            encoder, config.dimension, mean_of_tokens=config.mean_of_tokens, projected=config.projected
        )
        if count := config.num_item_embeddings:
            reader.item_embeddings = ItemEmbeddings(count, config.dimension, actions=config.num_actions)
        return cls(config, reader)
