"""Runtimes read models, behind one small interface: PyTorch, and ONNX Runtime and OpenVINO over a model's graphs."""
