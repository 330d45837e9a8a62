"""An independent reading of finished CNI files, which asks what two nodes could both hand out.

Nothing here comes from the allocator or the inventory, so that the two can prove each other wrong.
"""

from podlan.audit._addresses import Span, parse_network
from podlan.audit._audit import Report, audit
from podlan.audit._codes import CODES
from podlan.audit._own import Own, read_nodes_file, read_own

__all__ = ["CODES", "Own", "Report", "Span", "audit", "parse_network", "read_nodes_file", "read_own"]
