"""Temporary pods on this node's real plugins: what they get, whom they reach, and that nothing of them stays."""

from podlan.node.trial._records import RECORDS, sweep
from podlan.node.trial._run import Options, Trial, trial
from podlan.node.trial._stop import Stop

__all__ = ["RECORDS", "Options", "Stop", "Trial", "sweep", "trial"]
