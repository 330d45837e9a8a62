"""`python -m podlan` is the `podlan` command."""

from podlan.cli import main

if __name__ == "__main__":
    main()
