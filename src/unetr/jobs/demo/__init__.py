"""The demonstration: the shipped model on a real scan, and a training on a real brain. Downloads nothing."""
