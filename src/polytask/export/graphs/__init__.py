"""Graphs of ONNX: what needs onnx, imported by ``to_onnx`` alone."""
