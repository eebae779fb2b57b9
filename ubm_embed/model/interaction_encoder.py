"""The low level: one interaction's text to one vector (paper 3.1.2).

Letters: N interactions, T places for the tokens of all of them, E the encoder's width, D the model's (256).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding
from transformers import AutoModel, BertConfig, ElectraConfig, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging

from ubm_embed.data.batches.distinct_batches import TokenBatch
from ubm_embed.data.text.tokenizer import MAX_TOKENS
from ubm_embed.errors import InvalidData, NotFound
from ubm_embed.model.dropout import dropout
from ubm_embed.model.item_embeddings import KnownTexts
from ubm_embed.model.layers import Affine, computing_format, every_place, layers_of, silence_branches

# More than any encoder has; a configuration that asks for a billion must not be tried.
MAX_LAYERS = 128

# Untyped, as far as they are used here.
_AUTO_MODEL: Any = AutoModel
_LOGGING: Any = logging


class InteractionEncoder(nn.Module):
    """A BERT-like encoder. An interaction's vector is b', its `[CLS]`'s, projected where the encoder is not D wide.

    Args:
        encoder: its configuration, for weights at random, or with weights; a projection, if one is needed, is random.
        mean_of_tokens: b' is the mean over all tokens instead, which a pre-trained encoder has learned more of, and a
            fresh one more quickly, as it then starts as the mean of its words.
        known_texts: how many there are, see `KnownTexts`.
    """

    def __init__(
        self,
        encoder: PreTrainedConfig | PreTrainedModel,
        dimension: int,
        *,
        mean_of_tokens: bool = False,
        known_texts: int = 0,
    ) -> None:
        super().__init__()
        if isinstance(encoder, PreTrainedConfig):
            encoder = _AUTO_MODEL.from_config(encoder, **_without_pooler(encoder))
        self.encoder: Any = encoder
        self.projection = projection(encoder.config.hidden_size, dimension)
        self.mean_of_tokens = mean_of_tokens
        self.known = KnownTexts(known_texts, dimension) if known_texts else None

    @property
    def vocab_size(self) -> int:
        """Token ids that have an embedding, V."""
        return int(self.encoder.get_input_embeddings().weight.shape[0])

    def forward(self, tokens: TokenBatch) -> Tensor:
        """N interactions -> [N, D], row n for sequence n of the batch."""
        read = self._mean(tokens) if self.mean_of_tokens else self._first(tokens)
        vectors = cast(Tensor, self.projection(read))
        return vectors if self.known is None else vectors + self.known(tokens).to(vectors.dtype)

    def start_as_words(self) -> None:
        """Silence every branch beside the residual stream, so that a fresh encoder is the mean of its words."""
        silence_branches(self.encoder)

    def _mean(self, tokens: TokenBatch) -> Tensor:
        hidden = self.hidden(tokens)
        return tokens.packing.mean(hidden).to(hidden.dtype)

    def _first(self, tokens: TokenBatch) -> Tensor:
        hidden, packing = self._embeddings(tokens), tokens.packing
        *layers, last = layers_of(self.encoder.encoder.layer, hidden.dtype)
        hidden = every_place(layers, hidden, packing)
        with torch.autocast(hidden.device.type, enabled=False):
            return last.at_heads(hidden, packing)

    def hidden(self, tokens: TokenBatch) -> Tensor:
        """What the encoder makes of every token, as masked words are predicted from: [T, E], in packed order."""
        hidden = self._embeddings(tokens)
        return every_place(layers_of(self.encoder.encoder.layer, hidden.dtype), hidden, tokens.packing)

    def _embeddings(self, tokens: TokenBatch) -> Tensor:
        """[T, E] words and positions, all of the first token type, in the format that is computed in."""
        table = self.encoder.embeddings
        words = embedding(tokens.ids, table.word_embeddings.weight, table.word_embeddings.padding_idx)
        positions = embedding(tokens.packing.positions, table.position_embeddings.weight)
        joined = words + positions + table.token_type_embeddings.weight[0]
        dtype = computing_format(joined)
        normed = Affine.of(torch.float32, table.LayerNorm).norm(joined, table.LayerNorm.eps).to(dtype)
        hidden = dropout(normed, table.dropout.p if self.training else 0.0)
        if hasattr(self.encoder, "embeddings_project"):  # ELECTRA's, where its embeddings are narrower
            hidden = Affine.of(dtype, self.encoder.embeddings_project).linear(hidden)
        return hidden


def projection(width: int, dimension: int) -> nn.Module:
    """From an encoder's width to the model's; nothing where they agree."""
    return nn.Identity() if width == dimension else nn.Linear(width, dimension)


def bert_config(
    *, vocab_size: int, layers: int = 4, width: int = 256, heads: int = 4, dropout: float = 0.1, max_tokens: int = 64
) -> BertConfig:
    """The paper's interaction encoder: 4 layers, hidden size 256 (4.2.1), as in BERT_mini (4 heads, 1024 inside).

    Weights start at a scale that keeps a signal's size from layer to layer, 1 / sqrt(width), not at BERT's 0.02: with
    that, every text's [CLS] starts out nearly the same, and contrastive training from scratch collapses.
    """
    return BertConfig(
        vocab_size=vocab_size,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        max_position_embeddings=max_tokens,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        initializer_range=width**-0.5,
    )


def load_bert(source: str, *, layers: int, vocab_size: int, dropout: float) -> PreTrainedModel:
    """The first `layers` layers of a BERT or ELECTRA checkpoint, with room for `vocab_size` tokens.

    `source` is a folder or a name on the hub. Tokens beyond the checkpoint's own start as the mean of its embeddings,
    so that a new mark disturbs nothing.

    Raises:
        NotFound: no such checkpoint, or one without weights.
        InvalidData: another kind of model, too few positions, or weights that are damaged or incomplete.
    """
    config = _checkpoint_config(source)
    config.num_hidden_layers = min(layers, config.num_hidden_layers)
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = dropout
    encoder = _checkpoint_weights(source, config)
    known = config.vocab_size
    if vocab_size > known:
        encoder.resize_token_embeddings(vocab_size, mean_resizing=False)
        table = cast(nn.Embedding, encoder.get_input_embeddings()).weight
        with torch.no_grad():
            table[known:] = table[:known].mean(dim=0)
    return encoder


def encoder_config(settings: Mapping[str, Any]) -> PreTrainedConfig:
    """An encoder's configuration from its settings, as transformers writes them.

    Other families count positions from elsewhere (RoBERTa) or take other arguments (DistilBERT).

    Raises:
        ValueError: another family, a decoder, too few positions or a great many layers; transformers has errors of its
            own for settings of a wrong type.
    """
    family = settings.get("model_type")
    if family not in ("bert", "electra"):
        raise ValueError(f"expected an encoder of model_type 'bert' or 'electra', got {family!r}")
    config: PreTrainedConfig = (BertConfig if family == "bert" else ElectraConfig)(
        **{name: value for name, value in settings.items() if name != "model_type"}
    )
    if config.is_decoder:
        raise ValueError("expected an encoder, got a decoder: is_decoder is true")
    if config.max_position_embeddings < MAX_TOKENS:
        raise ValueError(
            f"expected max_position_embeddings of at least {MAX_TOKENS}, got {config.max_position_embeddings}"
        )
    if not 1 <= config.num_hidden_layers <= MAX_LAYERS:
        raise ValueError(f"num_hidden_layers must be in 1..{MAX_LAYERS}, got {config.num_hidden_layers}")
    return config


def _checkpoint_config(source: str) -> PreTrainedConfig:
    folder = Path(source)
    if folder.exists() and not (folder / "config.json").is_file():
        raise NotFound(f"no checkpoint at {source}: expected a folder with a config.json")
    try:
        settings, _ = PreTrainedConfig.get_config_dict(source)
        return encoder_config(settings)
    except OSError as error:
        if folder.exists():
            raise InvalidData(one_line(error), file=folder / "config.json") from None
        raise NotFound(
            f"no checkpoint {source!r}, neither a folder nor to be had from the hub: {one_line(error)}"
        ) from None
    except Exception as error:  # transformers has a kind of its own for each field of a wrong type
        raise InvalidData(f"not a checkpoint to start from: {one_line(error)}", file=source) from None


def _checkpoint_weights(source: str, config: PreTrainedConfig) -> PreTrainedModel:
    settings = {"dtype": torch.float32, **_without_pooler(config)}
    report = {"output_loading_info": True, "ignore_mismatched_sizes": True}
    try:
        with _quiet_transformers():
            encoder, found = _AUTO_MODEL.from_pretrained(source, config=config, **settings, **report)
    except OSError as error:
        raise NotFound(f"no weights in {source!r}: {one_line(error)}") from None
    except Exception as error:  # a truncated file, or a damaged one: each library has its own kind
        raise InvalidData(f"weights that cannot be loaded: {one_line(error)}", file=source) from None
    # transformers would leave at random what it does not find, and say so in a log.
    lacking = sorted(found["missing_keys"]) + sorted(name for name, *_ in found["mismatched_keys"])
    if lacking:
        problem = f"{len(lacking)} weights of the encoder are missing or of another shape, such as {lacking[0]}"
        raise InvalidData(problem, file=source)
    return cast(PreTrainedModel, encoder)


@contextlib.contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Without its progress bar and its table of the layers and heads that we leave out on purpose."""
    verbosity, bars = _LOGGING.get_verbosity(), _LOGGING.is_progress_bar_enabled()
    _LOGGING.set_verbosity_error()
    _LOGGING.disable_progress_bar()
    try:
        yield
    finally:
        _LOGGING.set_verbosity(verbosity)
        if bars:
            _LOGGING.enable_progress_bar()


def one_line(error: Exception) -> str:
    """What a library says of an error, short enough for a message of ours."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def _without_pooler(config: PreTrainedConfig) -> dict[str, Any]:
    # Only BERT itself brings a pooler nobody would train; ELECTRA has none and refuses the argument.
    return {"add_pooling_layer": False} if config.model_type == "bert" else {}
