"""`python -m podlan.node` is podlan-node."""

from podlan.node.command import main

if __name__ == "__main__":
    main()
