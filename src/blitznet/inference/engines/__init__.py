"""What runs a trained network: ONNX Runtime, OpenVINO or PyTorch."""
