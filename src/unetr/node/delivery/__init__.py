"""Results on their way to where they are wanted: sent, read back and compared, again and again until they are there."""
