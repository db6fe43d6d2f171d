"""The model file: how arrays are sealed, compacted and kept with their plan. Needs no torch."""
