"""sentence-transformers with the weights of our interaction encoder, in its several backends.

Its tokenizer reads token ids written as words, so that each text is the token ids that ours reads.
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
class Form:
    """A way to ask sentence-transformers.

    Attributes:
        name: as the table has it.
        backend: of `rival_process`.
        batch_size: texts at once; 32 is its default.
    """

    name: str
    backend: str
    batch_size: int = 32


FORMS = (
    Form("sentence-transformers", "torch"),
    Form("sentence-transformers, batch 256", "torch", 256),
    Form("sentence-transformers, bfloat16", "torch-bfloat16", 256),
    Form("sentence-transformers, ONNX int8", "onnx-int8"),
    Form("sentence-transformers, OpenVINO", "openvino"),
    Form("sentence-transformers, OpenVINO int8", "openvino-int8"),
)


class Rival(AbstractContextManager["Rival"]):
    """sentence-transformers in a process of its own, which stays for as long as it is asked.

    Raises:
        RuntimeError: it does not load; says why.
    """

    def __init__(self, form: Form, python: str, home: Path, threads: int) -> None:
        self.form, self._out = form, home / f"{form.name}.npy"
        asked = {
            "backend": form.backend,
            "batch_size": form.batch_size,
            "folder": str(home / "model"),
            "texts": str(home / "texts.json"),
            "out": str(self._out),
            "threads": threads,
        }
        self._errors = (home / f"{form.name}.log").open("w+")
        self._process = subprocess.Popen(
            [python, str(_CHILD), json.dumps(asked)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        try:
            self._said()
        except RuntimeError:
            self.close()
            raise

    def seconds(self) -> float:
        """Of encoding all texts once."""
        assert self._process.stdin is not None, "it was asked for"
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._said()["seconds"])

    def vectors(self) -> FloatArray:
        """Those of the last time: [M, D]. It then ends."""
        self._process.communicate()
        found: FloatArray = np.load(self._out)
        return found

    def _said(self) -> dict[str, Any]:
        assert self._process.stdout is not None, "it was asked for"
        line = self._process.stdout.readline()
        if line:
            return dict(json.loads(line))
        self._process.wait()
        self._errors.seek(0)
        raise RuntimeError((self._errors.read().strip().splitlines() or ["it ended without a word"])[-1])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process, if it has not ended."""
        self._process.kill()
        self._process.wait()
        for file in (self._process.stdin, self._process.stdout, self._errors):
            assert file is not None, "it was asked for"
            file.close()


def write_home(home: Path, checkpoint: Checkpoint, sequences: TokenTable) -> None:
    """What a rival is given: the encoder's folder as sentence-transformers has it, and the texts.

    Raises:
        ValueError: our encoder has a projection, which theirs has not.
    """
    theirs = checkpoint.products.model.interaction_encoder
    if not isinstance(theirs.projection, nn.Identity):
        raise ValueError("model must have an encoder as wide as its vectors, got one with a projection")
    folder = home / "model"
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "2_Normalize").mkdir()
    encoder = BertModel(theirs.encoder.config, add_pooling_layer=False)
    encoder.load_state_dict(theirs.encoder.state_dict())
    encoder.save_pretrained(folder)
    _write_tokenizer(folder, theirs.vocab_size)
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
    # Padding's name is cut out of any text that it stands in, so no other word may hold it.
    return f"t{number}" if number else _PADDING


def _write_json(file: Path, document: object) -> None:
    file.write_text(json.dumps(document), "utf-8")


def versions(python: str) -> dict[str, str]:
    """Of what that interpreter runs, where it is installed."""
    packages = ("sentence-transformers", "transformers", "torch", "optimum-onnx", "optimum-intel", "onnxruntime")
    code = f"""
import json
from importlib.metadata import distributions
found = {{one.metadata["Name"].lower(): one.version for one in distributions()}}
print(json.dumps({{name: found[name] for name in {(*packages, "openvino")!r} if name in found}}))
"""
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))
