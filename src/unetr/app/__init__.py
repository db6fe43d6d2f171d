"""The command `unetr`: arguments, printing, signals and exit codes live here and nowhere else."""
