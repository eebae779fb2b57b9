"""The User Behavior Model: both encoders (paper 3.1), from token ids to session vectors.

Letters: B sessions with I interactions in all, N distinct interactions, T slots for the tokens of all of them, E width
of the interaction encoder, D width of the model (256).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from ubm_embed.data.batches.packing import Packing, SessionBatch, TokenBatch
from ubm_embed.data.tasks.task import Task
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.model.bert import (
    BertLike,
    bert_config,
    built_encoder,
    encoder_config,
    fresh_layers,
    load_bert,
    stable_settings,
)
from ubm_embed.model.config import CONFIG_FILE, UBMConfig
from ubm_embed.model.folder import WEIGHTS_FILE
from ubm_embed.model.heads import build_head
from ubm_embed.model.item_embeddings import ItemEmbeddings
from ubm_embed.model.transformer import (
    Affine,
    Layer,
    computing_format,
    dropout,
    layers_from_modules,
    run_layers,
    run_to_first,
    sinusoidal_positions,
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
    """

    def __init__(self, encoder: BertLike, dimension: int, *, mean_of_tokens: bool = False) -> None:
        super().__init__()
        self.encoder: Any = built_encoder(encoder)
        width = self.encoder.config.hidden_size
        self.projection = nn.Identity() if width == dimension else nn.Linear(width, dimension)
        self.mean_of_tokens = mean_of_tokens
        self.item_embeddings: ItemEmbeddings | None = None

    @property
    def vocab_size(self) -> int:
        """The number of token ids with an embedding, V."""
        return int(self.encoder.get_input_embeddings().weight.shape[0])

    def forward(self, tokens: TokenBatch) -> Tensor:
        """N interactions -> b' [N, D], in the order of the batch's sequences."""
        vectors, extra = self._read(tokens.ids, tokens.packing), self.item_embeddings
        return vectors if extra is None else vectors + cast(Tensor, extra(tokens)).to(vectors.dtype)

    def _read(self, ids: Tensor, packing: Packing) -> Tensor:
        """b' from words alone, given the token in each slot: [N, D]."""
        hidden = self._embed(ids, packing.positions)
        layers = layers_from_modules(self.encoder.encoder.layer, hidden.dtype, last_at_first=not self.mean_of_tokens)
        if self.mean_of_tokens:
            read = packing.mean(run_layers(layers, hidden, packing)).to(hidden.dtype)
        else:
            read = run_to_first(layers, hidden, packing)
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
        hidden = dropout(normed, table.dropout.p if self.training else 0.0)
        if hasattr(self.encoder, "embeddings_project"):  # ELECTRA's, if its embeddings are narrower
            hidden = Affine.from_modules(dtype, self.encoder.embeddings_project).linear(hidden)
        return hidden


class SessionEncoder(nn.Module):
    """The high level (paper 3.1.3): Transformer layers over b' plus sinusoidal positions; h' is the mean of o'.

    Without layers it is the mean of the interaction vectors, without positions: how the paper's BERT baselines read a
    session (4.1.3).

    A causal one attends to earlier interactions only, and h' is its output at the last one. The last interaction then
    counts most, and one pass gives the vectors of all prefixes of a session.
    """

    positions: Tensor

    def __init__(
        self, *, dimension: int, layers: int, heads: int, dropout: float, max_interactions: int, causal: bool = False
    ) -> None:
        super().__init__()
        self.causal = causal
        self.layers = fresh_layers(dimension, layers, heads, dropout) if layers else None
        self.register_buffer("positions", sinusoidal_positions(max_interactions, dimension), persistent=False)

    def forward(self, interactions: Tensor, packing: Packing, layers: Sequence[Layer] | None = None) -> Tensor:
        """Interaction vectors [I, D], sessions end to end -> session vectors h' [B, D]. `layers` as `layers_like`.

        Raises:
            ValueError: a session is longer than `max_interactions`; the caller keeps its last ones.
        """
        layers = self.layers_like(interactions) if layers is None else layers
        outputs = self._outputs(self._by_slot(interactions, packing), packing, layers)
        return packing.last(outputs).float() if self.causal else packing.mean(outputs)

    def prefixes(self, interactions: Tensor, packing: Packing) -> Tensor:
        """h' of every prefix of every session, the whole one last: [I, D] float32, in the order of the interactions.

        Raises:
            ValueError: as `forward`; or the encoder is not causal, and would read a prefix with the whole session.
        """
        if not self.causal:
            raise ValueError("only a causal session encoder reads all prefixes of a session at once")
        outputs = self._outputs(self._by_slot(interactions, packing), packing, self.layers_like(interactions))
        return outputs[packing.element_slots()].float()

    def frozen(self) -> Callable[[Tensor, Packing], Tensor]:
        """`forward` with a copy of the weights as they are now, put together once."""
        twin = deepcopy(self)
        return partial(twin.forward, layers=twin.layers_like(twin.positions))

    def _outputs(self, inputs: Tensor, packing: Packing, layers: Sequence[Layer]) -> Tensor:
        """o' in every slot, from the interaction vectors there: [..., D] -> [..., D]."""
        if layers:
            inputs = inputs + self.positions[packing.positions].to(inputs.dtype)
        return run_layers(layers, inputs, packing, causal=self.causal)

    def layers_like(self, like: Tensor) -> list[Layer]:
        """The layers in the number format to compute in on an input."""
        modules = () if self.layers is None else cast(Any, self.layers.layer)
        return layers_from_modules(modules, computing_format(like))

    def _by_slot(self, interactions: Tensor, packing: Packing) -> Tensor:
        longest, limit = packing.max_length, self.positions.shape[0]
        if longest > limit:
            raise ValueError(f"a session has {longest} interactions, expected at most {limit}: keep the last ones")
        return interactions[packing.elements]


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
        self.head = None if config.task is None else build_head(Task(config.task), config.dimension)

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

    def fine_tuned(self, *, task: Task, product_tower: str | None = None) -> Self:
        """A copy for a task, with a fresh head if it needs one; `product_tower` as in `UBMConfig`."""
        config = self.config.replace(task=task, product_tower=product_tower)
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
        reader = InteractionEncoder(encoder, config.dimension, mean_of_tokens=config.mean_of_tokens)
        if count := config.num_item_embeddings:
            reader.item_embeddings = ItemEmbeddings(count, config.dimension, actions=config.num_actions)
        return cls(config, reader)
