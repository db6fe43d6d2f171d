"""The network and its parts, in torch. Knows plans; knows no scans, files or training."""
