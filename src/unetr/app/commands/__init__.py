"""One short file per command. Heavy imports happen inside the functions, so that `unetr --help` stays quick."""
