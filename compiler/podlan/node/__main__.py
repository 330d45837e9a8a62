"""`python -m podlan.node` is podlan-node."""

from podlan.node.command import program

if __name__ == "__main__":
    program()
