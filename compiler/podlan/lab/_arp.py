"""Asks who has some IPv4 addresses and prints every MAC that answers; a program of its own, standard library only.

Reads {"interface", "sender", "wanted"} as JSON from standard input, prints {address: [MAC, ...]}.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import time

ETH_P_ARP = 0x0806
REQUEST, REPLY = 1, 2
HEADER = struct.Struct("!6s6sHHHBBH6s4s6s4s")
PATIENCE = 0.3
"""Seconds to wait for the slower of two answers; on one machine they take less than a millisecond."""


def ask(interface: str, sender: str, wanted: list[str]) -> dict[str, list[str]]:
    """Send a request for each address and collect the answers."""
    answers: dict[str, set[str]] = {address: set() for address in wanted}
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ARP)) as link:
        link.bind((interface, ETH_P_ARP))
        mac = link.getsockname()[4]
        for address in wanted:
            ends = (mac, socket.inet_aton(sender), b"\0" * 6, socket.inet_aton(address))
            link.send(HEADER.pack(b"\xff" * 6, mac, ETH_P_ARP, 1, 0x0800, 6, 4, REQUEST, *ends))
        deadline = time.monotonic() + PATIENCE
        while (left := deadline - time.monotonic()) > 0:
            link.settimeout(left)
            try:
                frame = link.recv(128)
            except TimeoutError:
                break
            *_, operation, sender_mac, sender_address, _, _ = HEADER.unpack(frame[: HEADER.size])
            address = socket.inet_ntoa(sender_address)
            if operation == REPLY and address in answers:
                answers[address].add(sender_mac.hex(":"))
    return {address: sorted(macs) for address, macs in answers.items()}


if __name__ == "__main__":
    json.dump(ask(**json.load(sys.stdin)), sys.stdout)
