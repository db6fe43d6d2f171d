"""Training from a dataset: one fold, all folds, and what is measured of the result."""
