"""The process of `rivals`, for another interpreter; it needs nothing of this project.

Its argument is a JSON object. It prints {"ready": true}; then, for each line on stdin, it encodes all texts once and
prints {"seconds": ...}. At the end of stdin it writes the vectors to a file.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


def load(request: dict[str, Any]) -> Any:
    """The model in the requested backend."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(request["threads"])
    folder, backend = request["folder"], request["backend"]
    if backend == "torch":
        return SentenceTransformer(folder, device="cpu")
    if backend == "torch-bfloat16":
        return SentenceTransformer(folder, device="cpu", model_kwargs={"torch_dtype": torch.bfloat16})
    if backend in ("openvino", "openvino-int8"):
        settings = {"ov_config": {"INFERENCE_NUM_THREADS": request["threads"]}, "export": True}
        if backend == "openvino-int8":
            settings["load_in_8bit"] = True
        return SentenceTransformer(folder, backend="openvino", device="cpu", model_kwargs=settings)
    return _onnx_in_8_bits(folder, request["threads"])


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
    """Load the model, then encode once for each line on stdin."""
    request = json.loads(sys.argv[1])
    messages, sys.stdout = sys.stdout, sys.stderr  # libraries print to stdout, too
    texts = json.loads(Path(request["texts"]).read_text("utf-8"))
    model, vectors = load(request), None
    print(json.dumps({"ready": True}), file=messages, flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        vectors = model.encode(texts, batch_size=request["batch_size"], show_progress_bar=False)
        print(json.dumps({"seconds": time.perf_counter() - started}), file=messages, flush=True)
    if vectors is not None:
        np.save(request["out"], np.asarray(vectors, dtype=np.float32))


if __name__ == "__main__":
    main()
