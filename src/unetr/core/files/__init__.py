"""Files on disk: written whole or not at all, never over what a person has, one process at a time."""
