"""Stage 1 by sentence-transformers: its trainer, tokenising, collating and loop, and its MultipleNegativesRankingLoss.

It has our weights and reads our pairs, batch by batch, in four columns: item, next item, and both with tokens masked.
Its loss is taken of item and next item and of both and their masked copies, as equations 1 and 2 are, in one pass over
each column; two data sets with a loss each, the other way to write it, would encode items and next items twice. Its
trainer encodes the columns together, padded to the longest. A text is the tokens that ours reads, written out:
splitting it costs less than splitting words, and the masks are drawn beforehand.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast, PrinterCallback

from benchmarks.training.padded_views import LONGEST, PaddedViews
from benchmarks.training.plain_form import PlainModel
from benchmarks.training.step_flops import StepSize
from benchmarks.training.trainer_turns import Turns
from ubm_embed.data.text.tokenizer import MAX_TOKENS, InteractionTokenizer
from ubm_embed.model.precision import autocast
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.training.pretraining.config import PretrainingConfig
from ubm_embed.training.pretraining.views import Views

SENTENCE_TRANSFORMERS = "sentence-transformers"
PACKAGES = ("sentence-transformers", "datasets", "accelerate")
_COLUMNS = ("item", "next_item", "masked_item", "masked_next_item")
_TOKENIZER: Any = PreTrainedTokenizerFast  # untyped
_SEPARATOR = "\t"  # an attribute's mark may hold spaces


def lacking_packages() -> list[str]:
    """What must be installed before `TrainerForm` can be."""
    return [name for name in PACKAGES if find_spec(name.replace("-", "_")) is None]


class TrainerForm:
    """A step a turn of `SentenceTransformerTrainer`. Close it when done."""

    kind = SENTENCE_TRANSFORMERS
    masks_same = False

    def __init__(
        self,
        precision: str,
        model: UserBehaviorModel,
        tokenizer: InteractionTokenizer,
        config: PretrainingConfig,
        steps: Sequence[Views],
    ) -> None:
        self.precision, self.tokenizer, self.device = precision, tokenizer, model.device
        self.size = StepSize.of(model, heads_alone=False)
        self._folder = tempfile.TemporaryDirectory()
        self.model = _sentence_transformer(model, tokenizer, self._folder.name)
        self.loss = _PairingAndMasking(self.model)
        columns = [self._columns(views) for views in steps]
        self._turns = Turns(self.device)
        self._trainer = _trainer(self.model, self.loss, columns, config, precision, self._folder.name, self._turns)
        self._thread = threading.Thread(target=self._turns.run, args=(self._trainer,), daemon=True)
        self._thread.start()

    def _columns(self, views: Views) -> dict[str, list[str]]:
        """The texts of a step, N in each column."""
        items, masked = (_texts(self.tokenizer, view) for view in PaddedViews.of(views, LONGEST).sequences)
        half = len(items) // 2
        return dict(zip(_COLUMNS, (items[:half], items[half:], masked[:half], masked[half:]), strict=True))

    def take(self, views: Views) -> dict[str, Any]:
        """One step. What its loop does beside it (fetching, tokenising, collating, its callbacks) is its reading."""
        return {**self._turns.take(), **self.work(views)}

    def work(self, views: Views) -> dict[str, int]:
        """What a step encodes, and its operations."""
        lengths = torch.cat([view.lengths for view in PaddedViews.of(views, LONGEST).sequences])
        rows, tokens = lengths.numel(), int(lengths.sum())
        places = {"sequences": rows, "interactions": rows, "places": rows * int(lengths.max()), "tokens": tokens}
        return {**places, "flops": self.size.step(lengths)}

    @torch.no_grad()
    def losses_without_dropout(self, views: Views) -> dict[str, float]:
        """Each loss, of its own tokenising and collating."""
        self.model.eval()
        columns = self._columns(views)
        features = [
            {name: value.to(self.device) if isinstance(value, Tensor) else value for name, value in column.items()}
            for column in map(self.model.preprocess, columns.values())
        ]
        with autocast(self.device, self.precision):
            found = {name: loss.item() for name, loss in self.loss(features, None).items()}
        self.model.train()
        return found

    def close(self) -> None:
        """End the training, however many of its steps were taken."""
        self._turns.stop()
        self._thread.join()
        self._folder.cleanup()


def _texts(tokenizer: InteractionTokenizer, view: Any) -> list[str]:
    """The tokens between [CLS] and [SEP] of each sequence of a view."""
    rows = zip(view.ids.tolist(), view.lengths.tolist(), strict=True)
    return [_SEPARATOR.join(tokenizer.tokens(ids[1 : length - 1])) for ids, length in rows]


def _fast_tokenizer(tokenizer: InteractionTokenizer) -> Any:
    """Of transformers, for texts that are tokens written out."""
    names = tokenizer.tokens(range(tokenizer.vocab_size))
    inner = Tokenizer(models.WordLevel({name: number for number, name in enumerate(names)}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.CharDelimiterSplit(_SEPARATOR)
    ends = [("[CLS]", tokenizer.cls), ("[SEP]", tokenizer.sep)]
    inner.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    marks = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    return _TOKENIZER(tokenizer_object=inner, model_max_length=MAX_TOKENS, **marks)


def _sentence_transformer(model: UserBehaviorModel, tokenizer: InteractionTokenizer, folder: str) -> Any:
    """Our interaction encoder as a SentenceTransformer, by way of a checkpoint, as its users have one."""
    library, modules = _library(), _library("sentence_transformer.modules")
    plain: Any = PlainModel(model)
    plain.encoder.save_pretrained(folder)
    _fast_tokenizer(tokenizer).save_pretrained(folder)
    settings = {"add_pooling_layer": False, "attn_implementation": "sdpa"}
    transformer = modules.Transformer(folder, model_kwargs=settings)
    pooling = modules.Pooling(model.config.dimension, pooling_mode="cls")
    return library.SentenceTransformer(modules=[transformer, pooling], device=str(model.device))


def _library(part: str = "") -> Any:
    """A module of sentence-transformers, which need not be installed, and takes seconds to import."""
    return import_module(f"sentence_transformers.{part}".rstrip("."))


class _PairingAndMasking(nn.Module):
    """Both losses of a step by MultipleNegativesRankingLoss, whose scale of 20 is our temperature."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.ranking = _library("sentence_transformer.losses").MultipleNegativesRankingLoss(model)
        self._embedded = _library("base.losses.merged_forward").embed_columns

    def forward(self, sentence_features: Any, labels: Any) -> dict[str, Tensor]:
        """The trainer adds them up."""
        items, next_items, *masked = self._embedded(self.model, sentence_features)
        masking = [torch.cat([items, next_items]), torch.cat(masked)]
        return {
            "next_item_pairing": self.ranking.compute_loss_from_embeddings([items, next_items], labels),
            "item_token_masking": self.ranking.compute_loss_from_embeddings(masking, labels),
        }


def _trainer(
    model: Any,
    loss: nn.Module,
    columns: Sequence[dict[str, list[str]]],
    config: PretrainingConfig,
    precision: str,
    folder: str,
    turns: Turns,
) -> Any:
    """Its defaults, but for what the others' steps have too: batch, order, optimizer's settings, number format."""
    library, sampler, datasets = _library(), _library("base.sampler").DefaultBatchSampler, import_module("datasets")
    arguments = library.SentenceTransformerTrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=len(columns[0][_COLUMNS[0]]),
        max_steps=len(columns),
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_gradient_norm,
        seed=config.seed,
        bf16=precision == "bfloat16",
        use_cpu=model.device.type == "cpu",
        batch_sampler=lambda dataset, batch_size, drop_last, **_: sampler(range(len(dataset)), batch_size, drop_last),
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    texts = {name: [text for one in columns for text in one[name]] for name in _COLUMNS}
    trainer = library.SentenceTransformerTrainer(
        model=model, args=arguments, train_dataset=datasets.Dataset.from_dict(texts), loss=loss, callbacks=[turns]
    )
    trainer.remove_callback(PrinterCallback)  # it prints to where the table goes
    return trainer
