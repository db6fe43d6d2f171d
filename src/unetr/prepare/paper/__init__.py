"""The tasks of the UNETR paper: their data, settings and published scores."""
