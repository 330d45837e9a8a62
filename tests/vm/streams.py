"""Streams between all nodes' pods, and what a stretch of time cost them."""

import sys
import time
from dataclasses import dataclass

ON_LAN = (
    "plain",
    "bonded",
    "mixed",
)  # the node in a VLAN of its own is behind a router, which is none of a bond's doing


def streams_begin(site):
    """One-way streams between those who talk, and to some who never say a word themselves."""
    pods = site.pods
    for node in site.nodes.values():
        own = [pod for pod in pods.values() if pod.node == node.name]
        node.ask(listen=[(pod.name, address) for pod in own for address in (pod.uplink, pod.storage) if address])
    talking = [pods[f"{name}/talks"] for name in ON_LAN]
    silent = [pods[f"{name}/listens"] for name in ON_LAN]
    for pod in talking:
        to = [(pod.uplink, other.uplink) for other in (*talking, *silent) if other.node != pod.node]
        if pod.storage:
            others = [other for other in (*talking, *silent) if other.storage and other.node != pod.node]
            to += [(pod.storage, other.storage) for other in others]
        site.nodes[pod.node].ask(talk=[(pod.name, *one) for one in to])


@dataclass
class Phase:
    """What one stretch of time cost the streams, by their names."""

    name: str
    told: dict[str, dict]

    def worst(self, what):
        return max(one[what] for one in self.told.values())

    def __str__(self):
        streams = self.told.values()
        return (
            f"  {self.name}: {len(streams)} streams, silent for {1000 * self.worst('silence'):.0f} ms at most, "
            f"lost {sum(one['lost'] for one in streams)} of {sum(one['sent'] for one in streams)}, "
            f"{self.worst('lost')} of one at most"
        )


def phase(site, name, change, seconds=3.0, concerns=""):
    """Change something while streams go on; gives what it cost those that begin or end at a node."""
    site.each(lambda node: node.ask(report=True))
    change()
    time.sleep(seconds)
    told = {}
    for reports in site.each(lambda node: node.ask(report=True)).values():
        told |= reports
    names = {address: str(pod) for pod in site.pods.values() for address in (pod.uplink, pod.storage) if address}
    shown = {}
    for stream, report in told.items():
        source, _, target = stream.partition(" to ")
        words = f"{names[source]} to {names[target]}" + (" (storage)" if source.startswith("10.") else "")
        if concerns in words:
            shown[words] = report
    done = Phase(name, shown)
    say(str(done))
    return done


def say(text):
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
