"""Tools for language models: describe a scan, segment it, read volumes and verdict, in named folders alone."""
