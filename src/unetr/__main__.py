"""`python -m unetr` is the command `unetr`."""

from unetr.app.cli import main

if __name__ == "__main__":
    main()
