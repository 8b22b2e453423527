"""Engines that run a trained network: ONNX Runtime, OpenVINO and PyTorch."""
