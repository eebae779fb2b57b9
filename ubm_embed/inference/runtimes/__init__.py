"""Runtimes read the texts of products, behind one small interface: PyTorch, ONNX Runtime, OpenVINO."""
