"""How good a segmentation is: Dice and surface metrics, per case and class. Knows label arrays, no network."""
