"""The light half: reads pictures with a bundle, by numpy and onnxruntime; needs no torch."""
