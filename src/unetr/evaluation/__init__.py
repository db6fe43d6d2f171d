"""How good a segmentation is: overlap and surface metrics, per case and class. Knows label arrays, no network."""
