"""`python -m podlan` is the `podlan` command."""

from podlan.cli import program

if __name__ == "__main__":
    program()
