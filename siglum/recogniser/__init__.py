"""The part without PyTorch: recognises images with a bundle, using NumPy and onnxruntime."""
