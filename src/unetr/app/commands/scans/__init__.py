"""Commands that make, score and show segmentations."""
