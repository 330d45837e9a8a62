"""Addresses: who claims which, who gets which, and the lock that remembers it."""

from podlan.addressing._allocate import Allocation, allocate
from podlan.addressing._claims import Claim, Ground, Kind, address_path, pins, subnets_of, survey
from podlan.addressing._lock import NETWORK, Lock, Quarantined, read_lock
from podlan.addressing._macs import child_mac
from podlan.addressing._memory import renamed
from podlan.addressing._ranges import Addresses, Range, to_text
from podlan.addressing._wants import Decisions, natural, networks

__all__ = [
    "NETWORK",
    "Addresses",
    "Allocation",
    "Claim",
    "Decisions",
    "Ground",
    "Kind",
    "Lock",
    "Quarantined",
    "Range",
    "address_path",
    "allocate",
    "child_mac",
    "natural",
    "networks",
    "pins",
    "read_lock",
    "renamed",
    "subnets_of",
    "survey",
    "to_text",
]
