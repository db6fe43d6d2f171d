"""The network, its parts, and the file that carries its weights. Knows torch; knows no scan files and no training."""
