"""Predicting a file or a folder: reading, computing and writing side by side, and the report."""
