"""The other side of `rivals`, in an interpreter of its own, where nothing of ours need be installed.

Arguments: one JSON object. After it has said {"ready": true} on stdout, each line on stdin has it encode all texts once
and say {"seconds": ...}; at the end of stdin it leaves the vectors in a file.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


def load(asked: dict[str, Any]) -> Any:
    """The model in the backend that is asked for."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(asked["threads"])
    folder, backend = asked["folder"], asked["backend"]
    if backend == "torch":
        return SentenceTransformer(folder, device="cpu")
    if backend == "torch-bfloat16":
        return SentenceTransformer(folder, device="cpu", model_kwargs={"torch_dtype": torch.bfloat16})
    if backend in ("openvino", "openvino-int8"):
        settings = {"ov_config": {"INFERENCE_NUM_THREADS": asked["threads"]}, "export": True}
        if backend == "openvino-int8":
            settings["load_in_8bit"] = True
        return SentenceTransformer(folder, backend="openvino", device="cpu", model_kwargs=settings)
    return _onnx_in_8_bits(folder, asked["threads"])


def _onnx_in_8_bits(folder: str, threads: int) -> Any:
    import onnxruntime  # type: ignore[import-untyped]
    from sentence_transformers import SentenceTransformer, export_dynamic_quantized_onnx_model

    exported = SentenceTransformer(folder, backend="onnx", device="cpu", model_kwargs={"export": True})
    exported.save_pretrained(folder)
    export_dynamic_quantized_onnx_model(exported, "avx512_vnni", folder)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    settings = {
        "file_name": "model_qint8_avx512_vnni.onnx",
        "provider": "CPUExecutionProvider",
        "session_options": options,
    }
    return SentenceTransformer(folder, backend="onnx", device="cpu", model_kwargs=settings)


def main() -> None:
    """Load, then encode as often as asked."""
    asked = json.loads(sys.argv[1])
    said, sys.stdout = sys.stdout, sys.stderr  # what libraries print is none of ours
    texts = json.loads(Path(asked["texts"]).read_text("utf-8"))
    model, vectors = load(asked), None
    print(json.dumps({"ready": True}), file=said, flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        vectors = model.encode(texts, batch_size=asked["batch_size"], show_progress_bar=False)
        print(json.dumps({"seconds": time.perf_counter() - started}), file=said, flush=True)
    if vectors is not None:
        np.save(asked["out"], np.asarray(vectors, dtype=np.float32))


if __name__ == "__main__":
    main()
