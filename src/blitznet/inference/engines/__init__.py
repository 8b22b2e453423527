"""Ways to run one trained network: PyTorch, ONNX Runtime, OpenVINO, and files made by export."""
