"""BERT and ELECTRA encoders of transformers: configurations, fresh weights, and checkpoints to start from."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import AutoModel, BertConfig, ElectraConfig, PreTrainedConfig, PreTrainedModel
from transformers.models.bert.modeling_bert import BertEncoder
from transformers.utils import logging

from ubm_embed.data.text.tokenizer import MAX_TOKENS
from ubm_embed.errors import InvalidData, NotFound
from ubm_embed.model.config import MAX_LAYERS
from ubm_embed.model.transformer import zero_branches

BertLike = PreTrainedConfig | PreTrainedModel
"""The configuration of an encoder, or an encoder with weights."""

# The methods used here are untyped.
_AUTO_MODEL: Any = AutoModel
_LOGGING: Any = logging


def bert_config(
    *, vocab_size: int, layers: int = 4, width: int = 256, heads: int = 4, dropout: float = 0.1
) -> BertConfig:
    """The paper's interaction encoder: 4 layers of hidden size 256 (4.2.1), as in BERT_mini (4 heads, 1024 inside).

    Weights start at 1 / sqrt(width), which preserves a signal's size from layer to layer, and not at BERT's 0.02: with
    0.02 the `[CLS]` vectors of all texts start out almost equal, and contrastive training from scratch collapses.
    """
    return BertConfig(
        vocab_size=vocab_size,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        max_position_embeddings=MAX_TOKENS,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        initializer_range=width**-0.5,
    )


def encoder_config(settings: Mapping[str, Any]) -> PreTrainedConfig:
    """An encoder's configuration from its settings, as transformers writes them.

    Only BERT and ELECTRA: RoBERTa counts positions from elsewhere, DistilBERT takes other arguments.

    Raises:
        ValueError: another family, a decoder, too few positions or too many layers. Settings of a wrong type raise
            errors of transformers' own.
    """
    family = settings.get("model_type")
    if family not in ("bert", "electra"):
        raise ValueError(f"expected an encoder of model_type 'bert' or 'electra', got {family!r}")
    config: PreTrainedConfig = (BertConfig if family == "bert" else ElectraConfig)(
        **{name: value for name, value in stable_settings(settings).items() if name != "model_type"}
    )
    if config.is_decoder:
        raise ValueError("expected an encoder, got a decoder: is_decoder is true")
    if config.max_position_embeddings < MAX_TOKENS:
        raise ValueError(
            f"expected max_position_embeddings of at least {MAX_TOKENS}, got {config.max_position_embeddings}"
        )
    if not 0 <= config.num_hidden_layers <= MAX_LAYERS:
        raise ValueError(f"num_hidden_layers must be in 0..{MAX_LAYERS}, got {config.num_hidden_layers}")
    return config


def stable_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings without those that name their writer and origin, which would change a model's id but not its vectors."""
    volatile = {"transformers_version", "_name_or_path", "dtype", "architectures", "_attn_implementation"}
    labels = {"id2label", "label2id"}  # of a head that we do not have; JSON would turn their integer keys into text
    return {key: value for key, value in settings.items() if key not in volatile | labels}


def built_encoder(encoder: BertLike) -> PreTrainedModel:
    """The encoder itself, or of a configuration one with random weights from torch's generator."""
    if isinstance(encoder, PreTrainedModel):
        return encoder
    return cast(PreTrainedModel, _AUTO_MODEL.from_config(encoder, **_without_pooler(encoder)))


def fresh_layers(width: int, layers: int, heads: int, dropout: float) -> nn.Module:
    """Layers without embeddings, for sessions: weights from torch's generator, zero where a branch ends.

    Products are sessions of length 1. With silent branches a fresh encoder is a mean of its inputs and puts a session
    near its products, which stage 1 has arranged by meaning; a random one would scatter them.
    """
    settings: dict[str, Any] = {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": dropout,
    }
    encoder = cast(nn.Module, BertEncoder(BertConfig(**settings)))  # type: ignore[no-untyped-call]
    for module in encoder.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)
    zero_branches(encoder)
    return encoder


def load_bert(source: str, *, layers: int, vocab_size: int, dropout: float) -> PreTrainedModel:
    """The first `layers` layers of a BERT or ELECTRA checkpoint, with room for `vocab_size` tokens.

    `source` is a folder or a name on the hub. Tokens beyond the checkpoint's own start as the mean of its embeddings,
    so that a new token changes little.

    Raises:
        NotFound: no such checkpoint, or one without weights.
        InvalidData: another kind of model, too few positions, or weights that are damaged or incomplete.
    """
    config = _checkpoint_config(source)
    config.num_hidden_layers = min(layers, config.num_hidden_layers)
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = dropout
    encoder = _checkpoint_weights(source, config)
    own_tokens = config.vocab_size
    if vocab_size > own_tokens:
        encoder.resize_token_embeddings(vocab_size, mean_resizing=False)
        table = cast(nn.Embedding, encoder.get_input_embeddings()).weight
        with torch.no_grad():
            table[own_tokens:] = table[:own_tokens].mean(dim=0)
    return encoder


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
        raise NotFound(f"no checkpoint {source!r}, neither a folder nor a name on the hub: {one_line(error)}") from None
    except Exception as error:  # transformers has its own kind of error for each field of a wrong type
        raise InvalidData(f"not a checkpoint to start from: {one_line(error)}", file=source) from None


def _checkpoint_weights(source: str, config: PreTrainedConfig) -> PreTrainedModel:
    settings = {"dtype": torch.float32, **_without_pooler(config)}
    report = {"output_loading_info": True, "ignore_mismatched_sizes": True}
    try:
        with _quiet_transformers():
            encoder, loading = _AUTO_MODEL.from_pretrained(source, config=config, **settings, **report)
    except OSError as error:
        raise NotFound(f"no weights in {source!r}: {one_line(error)}") from None
    except Exception as error:  # truncated or damaged: each library has its own kind of error
        raise InvalidData(f"weights that cannot be loaded: {one_line(error)}", file=source) from None
    # transformers leaves missing weights at random and only logs it.
    lacking = sorted(loading["missing_keys"]) + sorted(name for name, *_ in loading["mismatched_keys"])
    if lacking:
        problem = f"{len(lacking)} weights of the encoder are missing or of another shape, such as {lacking[0]}"
        raise InvalidData(problem, file=source)
    return cast(PreTrainedModel, encoder)


@contextlib.contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Without transformers' progress bar and its table of the layers and heads that are left out on purpose."""
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
    """A library's error message on one line, cut to 300 characters."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def _without_pooler(config: PreTrainedConfig) -> dict[str, Any]:
    # Only BERT has a pooler, which nothing here would train; ELECTRA refuses the argument.
    return {"add_pooling_layer": False} if config.model_type == "bert" else {}
