"""Writing: the output tree and the lock."""

from podlan.output._errors import Busy, CannotWrite, LostLock, OtherSite, OutputInsideSite
from podlan.output._files import refuse_nesting, remove_leftovers, turn, write_durably
from podlan.output._owned import MANIFEST, MARKER, NODES, listed, marker, refuse_lost_lock, refuse_other_site
from podlan.output._reader import Reader
from podlan.output._staged import Staged
from podlan.output._tree import Difference, compare

__all__ = [
    "MANIFEST",
    "MARKER",
    "NODES",
    "Busy",
    "CannotWrite",
    "Difference",
    "LostLock",
    "OtherSite",
    "OutputInsideSite",
    "Reader",
    "Staged",
    "compare",
    "listed",
    "marker",
    "refuse_lost_lock",
    "refuse_nesting",
    "refuse_other_site",
    "remove_leftovers",
    "turn",
    "write_durably",
]
