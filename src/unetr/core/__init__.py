"""Volumes, their geometry, and the records that the other folders share. Knows no file format and no torch."""
