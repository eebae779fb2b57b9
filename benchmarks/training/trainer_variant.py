"""Stage 1 by sentence-transformers: its trainer, tokenizing, collating and loop, and MultipleNegativesRankingLoss.

It starts from our weights and reads our pairs, batch by batch, in four columns: item, next item, and both with tokens
masked. The loss covers item and next item, and both with their masked copies (equations 1 and 2), in one pass over each
column; two data sets with a loss each would encode items and next items twice. The trainer encodes the columns
together, padded to the longest. A text is our tokens written out: it costs less to split than words, and the masks are
drawn beforehand.

A trainer of transformers runs on once it is started. Here it runs in its own thread and waits before each step.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from queue import SimpleQueue
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast, PrinterCallback, TrainerCallback

from benchmarks.training.flops import StepSize, synchronize
from benchmarks.training.padded_model import PaddedModel
from benchmarks.training.padded_views import LONGEST, PaddedViews
from ubm_embed.data.text.tokenizer import MAX_TOKENS, InteractionTokenizer
from ubm_embed.model.device import autocast
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.training.pretraining.config import PretrainingConfig
from ubm_embed.training.pretraining.views import Views

SENTENCE_TRANSFORMERS = "sentence-transformers"
PACKAGES = ("sentence-transformers", "datasets", "accelerate")
_COLUMNS = ("item", "next_item", "masked_item", "masked_next_item")
_TOKENIZER: Any = PreTrainedTokenizerFast  # untyped
_SEPARATOR = "\t"  # an attribute's token may contain spaces


def missing_packages() -> list[str]:
    """The packages that `TrainerVariant` needs and that are not installed."""
    return [name for name in PACKAGES if find_spec(name.replace("-", "_")) is None]


class TrainerVariant:
    """One step at a time of `SentenceTransformerTrainer`; close it at the end.

    Raises:
        Exception: whatever went wrong in the trainer, raised by the step that it happened in.
    """

    kind = SENTENCE_TRANSFORMERS
    masks_false_negatives = False

    def __init__(
        self,
        precision: str,
        model: UserBehaviorModel,
        tokenizer: InteractionTokenizer,
        config: PretrainingConfig,
        steps: Sequence[Views],
    ) -> None:
        self.precision, self.tokenizer, self.device = precision, tokenizer, model.device
        self.size = StepSize.from_model(model, cls_only=False)
        self._folder = tempfile.TemporaryDirectory()
        self.model = _sentence_transformer(model, tokenizer, self._folder.name)
        self.loss = _PairingAndMasking(self.model)
        columns = [self._columns(views) for views in steps]
        self._stepped = SteppedTraining(self.device)
        self._trainer = _trainer(self.model, self.loss, columns, config, precision, self._folder.name, self._stepped)
        self._thread = threading.Thread(target=self._stepped.run, args=(self._trainer,), daemon=True)
        self._thread.start()

    def _columns(self, views: Views) -> dict[str, list[str]]:
        """The texts of a step, N in each column."""
        items, masked = (_texts(self.tokenizer, view) for view in PaddedViews.from_packed(views, LONGEST).sequences)
        half = len(items) // 2
        return dict(zip(_COLUMNS, (items[:half], items[half:], masked[:half], masked[half:]), strict=True))

    def run_step(self, views: Views) -> dict[str, Any]:
        """As `StepVariant`; reading is what the loop does between steps: fetch, tokenize, collate, call back."""
        return {**self._stepped.run_step(), **self.work(views)}

    def work(self, views: Views) -> dict[str, int]:
        """What a step encodes, and its `flops`."""
        lengths = torch.cat([view.lengths for view in PaddedViews.from_packed(views, LONGEST).sequences])
        rows, tokens = lengths.numel(), int(lengths.sum())
        counts = {"sequences": rows, "interactions": rows, "token_slots": rows * int(lengths.max()), "tokens": tokens}
        return {**counts, "flops": self.size.step(lengths)}

    @torch.no_grad()
    def losses_without_dropout(self, views: Views) -> dict[str, float]:
        """Each loss, with its own tokenizing and collating."""
        self.model.eval()
        columns = self._columns(views)
        features = [
            {name: value.to(self.device) if isinstance(value, Tensor) else value for name, value in column.items()}
            for column in map(self.model.preprocess, columns.values())
        ]
        with autocast(self.device, self.precision):
            losses = {name: loss.item() for name, loss in self.loss(features, None).items()}
        self.model.train()
        return losses

    @property
    def steps_run(self) -> int:
        """Steps of the training so far."""
        return int(self._trainer.state.global_step)

    def close(self) -> None:
        """End the training, even if steps are left."""
        self._stepped.stop()
        self._thread.join()
        self._folder.cleanup()


def _texts(tokenizer: InteractionTokenizer, view: Any) -> list[str]:
    """The tokens between [CLS] and [SEP] of each sequence of a view."""
    rows = zip(view.ids.tolist(), view.lengths.tolist(), strict=True)
    return [_SEPARATOR.join(tokenizer.tokens(ids[1 : length - 1])) for ids, length in rows]


def _fast_tokenizer(tokenizer: InteractionTokenizer) -> Any:
    """A tokenizer of transformers for texts that are our tokens written out."""
    names = tokenizer.tokens(range(tokenizer.vocab_size))
    inner = Tokenizer(models.WordLevel({name: number for number, name in enumerate(names)}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.CharDelimiterSplit(_SEPARATOR)
    ends = [("[CLS]", tokenizer.cls), ("[SEP]", tokenizer.sep)]
    inner.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    special = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    return _TOKENIZER(tokenizer_object=inner, model_max_length=MAX_TOKENS, **special)


def _sentence_transformer(model: UserBehaviorModel, tokenizer: InteractionTokenizer, folder: str) -> Any:
    """Our interaction encoder as a SentenceTransformer, loaded from a checkpoint as its users would."""
    library, modules = _library(), _library("sentence_transformer.modules")
    padded: Any = PaddedModel(model)
    padded.encoder.save_pretrained(folder)
    _fast_tokenizer(tokenizer).save_pretrained(folder)
    settings = {"add_pooling_layer": False, "attn_implementation": "sdpa"}
    transformer = modules.Transformer(folder, model_kwargs=settings)
    pooling = modules.Pooling(model.config.dimension, pooling_mode="cls")
    return library.SentenceTransformer(modules=[transformer, pooling], device=str(model.device))


def _library(part: str = "") -> Any:
    """A module of sentence-transformers, which is optional and takes seconds to import."""
    return import_module(f"sentence_transformers.{part}".rstrip("."))


class SteppedTraining(TrainerCallback):
    """Lets a trainer run one step at a time, and times it."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._step_started, self._resumed = device, 0.0, 0.0
        self._requests: SimpleQueue[bool] = SimpleQueue()
        self._results: SimpleQueue[dict[str, float] | BaseException] = SimpleQueue()

    def run_step(self) -> dict[str, float]:
        """Seconds of the next step and of the reading before it."""
        self._requests.put(True)
        result = self._results.get()
        if isinstance(result, BaseException):
            raise result
        return result

    def stop(self) -> None:
        """Ask for no more steps."""
        self._requests.put(False)

    def run(self, trainer: Any) -> None:
        """Train, waiting before each step; runs in the trainer's thread."""
        try:
            if self._wait_for_request():
                trainer.train()
        except BaseException as error:  # raised again by the thread that waits for this step
            self._results.put(error)

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note when the step starts: its batch is ready."""
        self._step_started = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Hand over the times, and wait for the next request."""
        synchronize(self._device)
        ended = time.perf_counter()
        reading = self._step_started - self._resumed
        self._results.put({"seconds": ended - self._step_started, "reading_seconds": reading})
        if state.global_step < state.max_steps and not self._wait_for_request():
            control.should_training_stop = True

    def _wait_for_request(self) -> bool:
        going = self._requests.get()
        self._resumed = time.perf_counter()
        return going


class _PairingAndMasking(nn.Module):
    """Both losses of a step by MultipleNegativesRankingLoss; its scale of 20 equals our temperature of .05."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.ranking = _library("sentence_transformer.losses").MultipleNegativesRankingLoss(model)
        self._embed_columns = _library("base.losses.merged_forward").embed_columns

    def forward(self, sentence_features: Any, labels: Any) -> dict[str, Tensor]:
        """Each loss; the trainer sums them."""
        items, next_items, *masked = self._embed_columns(self.model, sentence_features)
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
    stepped: SteppedTraining,
) -> Any:
    """The trainer with its defaults, except for what all variants share: batch, order, optimizer, number format."""
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
    texts = {name: [text for step in columns for text in step[name]] for name in _COLUMNS}
    trainer = library.SentenceTransformerTrainer(
        model=model, args=arguments, train_dataset=datasets.Dataset.from_dict(texts), loss=loss, callbacks=[stepped]
    )
    trainer.remove_callback(PrinterCallback)  # it prints to stdout, where the table goes
    return trainer
