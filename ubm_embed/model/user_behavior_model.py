"""The User Behavior Model: both encoders (paper 3.1), and the folder it is saved in.

Letters: B sessions, N different interactions, D width (256).
"""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from ubm_embed.data.batches.distinct_batches import SessionBatch
from ubm_embed.data.tasks.examples import Task
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.data.text.tokenizer import MAX_TOKENS, InteractionTokenizer
from ubm_embed.errors import InvalidData, NotFound
from ubm_embed.model.heads import head_of
from ubm_embed.model.interaction_encoder import (
    MAX_LAYERS,
    InteractionEncoder,
    bert_config,
    encoder_config,
    load_bert,
    one_line,
)
from ubm_embed.model.item_embeddings import KnownTexts
from ubm_embed.model.session_encoder import SessionEncoder

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
ARCHITECTURE = "ubm"

# Far beyond what anybody trains; a damaged configuration is refused before it costs memory.
_BOUNDS = {
    "dimension": (1, 65_536),
    "session_layers": (0, MAX_LAYERS),
    "session_heads": (1, 1024),
    "max_interactions": (1, 65_536),
    "known_texts": (0, 1 << 30),
}


@dataclass(frozen=True, kw_only=True)
class UBMConfig:
    """What the weights of a model fit.

    Attributes:
        dimension: width of interaction and session vectors, D.
        session_layers: layers of the session encoder; with none a session is the mean of its interactions.
        session_heads: attention heads of each.
        max_interactions: interactions a session may have; the last ones are read of a longer one.
        dropout: dropout of the session encoder; the interaction encoder's is in its own settings.
        causal: an interaction reads those before it, and a session is the output at its last one; else each reads all,
            and a session is the mean (the paper).
        mean_of_tokens: an interaction is the mean over its tokens; else its `[CLS]` (the paper).
        known_texts: texts that have a vector beside what their words say, see `KnownTexts`.
        interaction_encoder: the configuration of the BERT-like encoder, as transformers writes it.
        task: what it was fine-tuned for; "pip" and "rlp" have a head.
        product_tower: model_id of the model that reads products, where it is not this one.
    """

    dimension: int = 256
    session_layers: int = 4
    session_heads: int = 4
    max_interactions: int = 32
    dropout: float = 0.1
    causal: bool = False
    mean_of_tokens: bool = False
    known_texts: int = 0
    interaction_encoder: dict[str, Any] = field(default_factory=dict)
    task: str | None = None
    product_tower: str | None = None

    def __post_init__(self) -> None:
        for name, (least, most) in _BOUNDS.items():
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                raise ValueError(f"{name} must be a whole number in {least}..{most}, got {value!r}")
        if self.dimension % self.session_heads or self.dimension % 2:
            raise ValueError(f"dimension must be even and a multiple of session_heads, got {self.dimension}")
        if type(self.dropout) not in (int, float) or not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout!r}")
        for name in ("causal", "mean_of_tokens"):
            if type(getattr(self, name)) is not bool:
                raise ValueError(f"{name} must be true or false, got {getattr(self, name)!r}")
        if not isinstance(self.interaction_encoder, dict):
            raise ValueError(f"interaction_encoder must be an object, got {self.interaction_encoder!r}")
        if self.task is not None and self.task not in list(Task):
            raise ValueError(f"task must be one of {', '.join(Task)}, got {self.task!r}")
        if self.product_tower is not None and type(self.product_tower) is not str:
            raise ValueError(f"product_tower must be a model_id, got {self.product_tower!r}")


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
        self.head = None if config.task is None else head_of(Task(config.task), config.dimension)

    @classmethod
    def from_scratch(
        cls, *, vocab_size: int, layers: int = 4, width: int = 256, dropout: float = 0.1, **settings: Any
    ) -> Self:
        """Random weights, from torch's generator, in the paper's sizes. `settings` are `UBMConfig`'s."""
        bert = bert_config(vocab_size=vocab_size, layers=layers, width=width, dropout=dropout, max_tokens=MAX_TOKENS)
        config = UBMConfig(dropout=dropout, interaction_encoder=_stable(bert.to_dict()), **settings)
        encoder = _interaction_encoder(bert, config)
        if config.mean_of_tokens:
            encoder.start_as_words()
        return cls(config, encoder)

    @classmethod
    def from_bert(
        cls, source: str | Path, *, vocab_size: int, layers: int = 4, dropout: float = 0.1, **settings: Any
    ) -> Self:
        """The interaction encoder from the first `layers` layers of a BERT or ELECTRA checkpoint, the rest fresh.

        Args:
            source: a folder, or a name on the hub.
            vocab_size: of the tokenizer; a checkpoint that has more tokens keeps them.
            settings: `UBMConfig`'s.

        Raises:
            NotFound: no such checkpoint, or one without weights.
            InvalidData: not such a checkpoint, or a damaged one.
        """
        encoder = load_bert(str(source), layers=layers, vocab_size=vocab_size, dropout=dropout)
        config = UBMConfig(dropout=dropout, interaction_encoder=_stable(encoder.config.to_dict()), **settings)
        return cls(config, _interaction_encoder(encoder, config))

    def forward(self, batch: SessionBatch) -> Tensor:
        """B sessions -> h' [B, D]. Each different interaction of the batch is encoded once."""
        different: Tensor = self.interaction_encoder(batch.tokens)
        return cast(Tensor, self.session_encoder(different[batch.index], batch.packing))

    def fine_tuned(self, *, task: Task, product_tower: str | None = None) -> Self:
        """A copy for a task, with a fresh head where it needs one; `product_tower` as in `UBMConfig`."""
        config = replace(self.config, task=str(task), product_tower=product_tower)
        copy = type(self)(config, deepcopy(self.interaction_encoder))
        copy.session_encoder.load_state_dict(self.session_encoder.state_dict())
        return copy.to(self.device)

    def know(self, texts: TokenTable, tokenizer: InteractionTokenizer, start: Tensor | None = None) -> None:
        """Learn a vector for each of these K product texts from now on, beside those known before (see `KnownTexts`).

        Args:
            start: [K, D], where new ones start; None for 0, which changes nothing at first.
        """
        known = KnownTexts.of(texts, tokenizer, self.interaction_encoder.known, self.config.dimension, start)
        if not known.keys.numel():
            return
        self.interaction_encoder.known = known.to(self.device)
        self.config = replace(self.config, known_texts=known.keys.numel())

    def forget(self) -> None:
        """Read every text by its words alone from now on."""
        self.interaction_encoder.known = None
        self.config = replace(self.config, known_texts=0)

    def drop_known_texts(self, share: float) -> None:
        """In training, read so many texts of a batch by their words alone."""
        if self.interaction_encoder.known is not None:
            self.interaction_encoder.known.dropout = share

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """The model of a folder that `save_pretrained` wrote, on the CPU, ready for inference.

        Raises:
            NotFound: a file is missing.
            InvalidData: names the file: not our configuration, a truncated checkpoint, or weights that do not fit.
        """
        folder = Path(folder)
        config_file, weights_file = folder / CONFIG_FILE, folder / WEIGHTS_FILE
        for file in (config_file, weights_file):
            if not file.is_file():
                raise NotFound(f"no model at {folder}: {file.name} is missing")
        config = _read_config(config_file)
        try:
            with torch.device("meta"):  # shapes without memory: sizes are believed once the weights have them
                outline = cls._of(config)
        except Exception as error:  # transformers and torch raise all kinds at settings that make no encoder
            raise InvalidData(f"not a model configuration: {one_line(error)}", file=config_file) from None
        _require_shapes(outline, weights_file)
        model = cls._of(config)
        model.load_state_dict(load_file(weights_file))
        return model.eval()

    @classmethod
    def _of(cls, config: UBMConfig) -> Self:
        return cls(config, _interaction_encoder(encoder_config(_stable(config.interaction_encoder)), config))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json and model.safetensors into an existing folder."""
        folder = Path(folder)
        document = {"architecture": ARCHITECTURE, **asdict(self.config)}
        (folder / CONFIG_FILE).write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", "utf-8")
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        save_file(weights, folder / WEIGHTS_FILE, metadata={"format": "pt"})


def _interaction_encoder(encoder: PreTrainedConfig | PreTrainedModel, config: UBMConfig) -> InteractionEncoder:
    return InteractionEncoder(
        encoder, config.dimension, mean_of_tokens=config.mean_of_tokens, known_texts=config.known_texts
    )


def _stable(settings: dict[str, Any]) -> dict[str, Any]:
    """Without what says who wrote the settings and from where: it would change a model's id, not its vectors."""
    volatile = {"transformers_version", "_name_or_path", "dtype", "architectures", "_attn_implementation"}
    labels = {"id2label", "label2id"}  # of a head we do not have; their keys are numbers, which JSON turns into text
    return {key: value for key, value in settings.items() if key not in volatile | labels}


def _read_config(file: Path) -> UBMConfig:
    try:
        document = json.loads(file.read_text("utf-8"))
        if not isinstance(document, dict) or document.pop("architecture", None) != ARCHITECTURE:
            raise InvalidData(f"expected architecture {ARCHITECTURE!r}: not a model that ubm-embed wrote", file=file)
        return UBMConfig(**document)
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidData(f"not a model configuration: {error}", file=file) from None


def _require_shapes(outline: nn.Module, file: Path) -> None:
    """Raise unless the weights in `file` have exactly the names and shapes of `outline`'s."""
    try:
        with safe_open(file, framework="pt") as weights:
            found = {name: tuple(weights.get_slice(name).get_shape()) for name in weights.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise InvalidData(f"truncated or not a safetensors file: {error}", file=file) from None
    expected = {name: tuple(tensor.shape) for name, tensor in outline.state_dict().items()}
    for name in sorted(expected.keys() | found.keys()):
        if found.get(name) != expected.get(name):
            problem = f"{name} is {found.get(name, 'missing')}, expected {expected.get(name, 'none of that name')}"
            raise InvalidData(f"weights do not fit {CONFIG_FILE}: {problem}", file=file)
