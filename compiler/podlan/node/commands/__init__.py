"""The node's commands, one module each; both `podlan` and `podlan-node` have them."""
