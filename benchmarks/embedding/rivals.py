"""sentence-transformers with the weights of our interaction encoder, in each of its backends.

Its tokenizer reads token ids written as words, so both encode the same ids.
"""

from __future__ import annotations

import json
import subprocess
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn
from transformers import BertModel

from ubm_embed.data.arrays import FloatArray
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.data.text.tokenizer import MAX_TOKENS
from ubm_embed.model.checkpoint import Checkpoint

_PADDING = "[PAD]"
_CHILD = Path(__file__).with_name("rival_process.py")


@dataclass(frozen=True)
class Variant:
    """A configuration of sentence-transformers.

    Attributes:
        name: as in the table.
        backend: of `rival_process`.
        batch_size: texts in a batch; 32 is the library's default.
    """

    name: str
    backend: str
    batch_size: int = 32


VARIANTS = (
    Variant("sentence-transformers", "torch"),
    Variant("sentence-transformers, batch 256", "torch", 256),
    Variant("sentence-transformers, bfloat16", "torch-bfloat16", 256),
    Variant("sentence-transformers, ONNX int8", "onnx-int8"),
    Variant("sentence-transformers, OpenVINO", "openvino"),
    Variant("sentence-transformers, OpenVINO int8", "openvino-int8"),
)


class Rival(AbstractContextManager["Rival"]):
    """sentence-transformers in its own process, until it is closed.

    Raises:
        RuntimeError: it cannot be loaded; the message is the reason.
    """

    def __init__(self, variant: Variant, python: str, home: Path, threads: int) -> None:
        self.variant, self._out = variant, home / f"{variant.name}.npy"
        request = {
            "backend": variant.backend,
            "batch_size": variant.batch_size,
            "folder": str(home / "model"),
            "texts": str(home / "texts.json"),
            "out": str(self._out),
            "threads": threads,
        }
        self._errors = (home / f"{variant.name}.log").open("w+")
        self._process = subprocess.Popen(
            [python, str(_CHILD), json.dumps(request)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        try:
            self._read_message()
        except RuntimeError:
            self.close()
            raise

    def seconds(self) -> float:
        """Seconds for encoding all texts once."""
        assert self._process.stdin is not None, "it is a pipe"
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._read_message()["seconds"])

    def vectors(self) -> FloatArray:
        """The vectors of the last pass [M, D]; ends the process."""
        self._process.communicate()
        vectors: FloatArray = np.load(self._out)
        return vectors

    def _read_message(self) -> dict[str, Any]:
        assert self._process.stdout is not None, "it is a pipe"
        line = self._process.stdout.readline()
        if line:
            return dict(json.loads(line))
        self._process.wait()
        self._errors.seek(0)
        raise RuntimeError((self._errors.read().strip().splitlines() or ["it ended without a message"])[-1])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process if it still runs."""
        self._process.kill()
        self._process.wait()
        for file in (self._process.stdin, self._process.stdout, self._errors):
            assert file is not None, "pipes and a log"
            file.close()


def write_home(home: Path, checkpoint: Checkpoint, sequences: TokenTable) -> None:
    """Write the input of a rival: our encoder as a folder of sentence-transformers, and the texts.

    Raises:
        ValueError: our encoder has a projection, which sentence-transformers does not support here.
    """
    ours = checkpoint.products.model.interaction_encoder
    if not isinstance(ours.projection, nn.Identity):
        raise ValueError("model must have an encoder as wide as its vectors, got one with a projection")
    folder = home / "model"
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "2_Normalize").mkdir()
    encoder = BertModel(ours.encoder.config, add_pooling_layer=False)
    encoder.load_state_dict(ours.encoder.state_dict())
    encoder.save_pretrained(folder)
    _write_tokenizer(folder, ours.vocab_size)
    kind = "sentence_transformers.models."
    parts = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": kind + name}
        for number, (path, name) in enumerate(parts)
    ]
    _write_json(folder / "modules.json", modules)
    _write_json(folder / "sentence_bert_config.json", {"max_seq_length": MAX_TOKENS, "do_lower_case": False})
    pooling = {"word_embedding_dimension": checkpoint.model.config.dimension, "pooling_mode_cls_token": True}
    _write_json(folder / "1_Pooling" / "config.json", pooling | {"pooling_mode_mean_tokens": False})
    texts = [" ".join(map(_word, sequences.row(row).tolist())) for row in range(len(sequences))]
    _write_json(home / "texts.json", texts)


def _write_tokenizer(folder: Path, vocab_size: int) -> None:
    words = Tokenizer(models.WordLevel({_word(number): number for number in range(vocab_size)}, unk_token=_PADDING))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": MAX_TOKENS, "pad_token": _PADDING}
    _write_json(folder / "tokenizer_config.json", settings)


def _word(number: int) -> str:
    # The padding's name is removed from every text, so no other word may contain it.
    return f"t{number}" if number else _PADDING


def _write_json(file: Path, document: object) -> None:
    file.write_text(json.dumps(document), "utf-8")


def versions(python: str) -> dict[str, str]:
    """Versions of the relevant packages that are installed for this interpreter."""
    packages = ("sentence-transformers", "transformers", "torch", "optimum-onnx", "optimum-intel", "onnxruntime")
    code = f"""
import json
from importlib.metadata import distributions
installed = {{one.metadata["Name"].lower(): one.version for one in distributions()}}
print(json.dumps({{name: installed[name] for name in {(*packages, "openvino")!r} if name in installed}}))
"""
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))
