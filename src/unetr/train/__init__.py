"""From preprocessed cases to a model file: samples, augmentation, loss, loop, checkpoints. Not for inference."""
