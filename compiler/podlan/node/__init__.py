"""The node's side: makes one machine match its plan. Standard library, pyroute2 and click only."""
