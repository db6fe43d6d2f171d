"""The network as an ONNX file: made, read and checked."""
