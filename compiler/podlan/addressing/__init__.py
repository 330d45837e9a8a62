"""Addresses: who claims which, who gets which, and the lock that remembers it."""

from podlan.addressing._allocate import Allocation, allocate
from podlan.addressing._claims import Claim, Ground, Kind, address_path, pins, subnets_of, survey
from podlan.addressing._lock import Lock, Quarantined, read_lock
from podlan.addressing._macs import child_mac
from podlan.addressing._ranges import Addresses, Range, to_text
from podlan.addressing._wants import Decisions, natural, network_names

__all__ = [
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
    "network_names",
    "pins",
    "read_lock",
    "subnets_of",
    "survey",
    "to_text",
]
