"""`podlan lab` on the how-to's network: SITE's last word is the way of host access."""

import os
import sys

import how_to

from podlan.lab import command, node

if how := os.environ.get("RECONCILE"):
    node.RECONCILE = ("sh", "-c", how)


def compiled(source, output):
    return how_to.topology(output, source.name, only=os.environ.get("NODES", "node-1 node-2 node-3").split())


command.compiled = compiled
sys.argv[0] = "podlan lab"
command.lab()
