"""The machine: its memory and cores, child processes, and what keeps this program to itself."""
