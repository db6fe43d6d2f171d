"""Use cases: what a person, a server or a cluster asks for, from start to end. Knows no command line."""
