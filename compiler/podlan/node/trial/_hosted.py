"""The pods of one trial: attached in order, written down before, and detached whatever happens."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from podlan.node import chain
from podlan.node.chain import Refusal
from podlan.node.codes import finding
from podlan.node.trial._plugins import Attachment, delete, hint, is_full
from podlan.node.trial._pods import start
from podlan.node.trial._records import PREFIX, Record, reserved

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from podlan.diagnostics import Finding
    from podlan.node.chain import Document
    from podlan.node.files import Root
    from podlan.node.trial._networks import Net
    from podlan.node.trial._pods import Pod
    from podlan.node.trial._stop import Stop


@dataclass(frozen=True, slots=True)
class Attached:
    """One interface of one pod, what ADD answered, and the addresses in that, with prefix length.

    `name` is the pod's, and the interface's but for the first.
    """

    name: str
    pod: Pod
    net: Net
    attachment: Attachment
    result: Document
    addresses: tuple[str, ...]


class Hosted:
    """What a trial has made on this node; `end` takes it away."""

    def __init__(self, root: Root, bin_dir: str, stop: Stop) -> None:
        self.attached: list[Attached] = []
        self.refused = 0
        self._record = Record(root, f"{os.getpid()}-{os.urandom(4).hex()}")
        self._bin_dir = bin_dir
        self._stop = stop
        self._pods: list[Pod] = []
        self._begun: list[tuple[Pod, Attachment]] = []

    def attach(self, nets: Sequence[Net], number: int) -> Iterator[Finding]:
        """Attach so many pods to all of these networks; tell which plugin refuses, and go on without that network."""
        names = [f"{PREFIX}{self._record.name}-{one}" for one in range(1, number + 1)]
        planned = {
            name: [(net, Attachment(name, net.interface, self._bin_dir, net.config)) for net in nets] for name in names
        }
        self._record.write(attachment for several in planned.values() for _, attachment in several)
        closed: set[str] = set()
        for place, several in enumerate(planned.values(), 1):
            pod = start(self._pods, self._stop)
            self._pods.append(pod)
            for net, attachment in several:
                # Nobody else may have a child of a master that is passed through.
                if net.file not in closed and (place == 1 or chain.mode(net.config) != "passthru"):
                    name = f"verify-{place}" if net is nets[0] else f"verify-{place} {net.interface}"
                    for found in self._add(name, pod, net, attachment):
                        closed.add(net.file)
                        yield found
            if len(closed) == len(nets):
                break

    def _add(self, name: str, pod: Pod, net: Net, attachment: Attachment) -> Iterator[Finding]:
        call = attachment.caller(pod.namespace, self._record.lock, self._stop)
        self._begun.append((pod, attachment))
        try:
            result = chain.add(net.config, call)
            self.attached.append(Attached(name, pod, net, attachment, result, _addresses(result)))
            chain.check(net.config, result, call)
        except Refusal as refusal:
            there = sum(one.net is net for one in self.attached)
            if is_full(refusal) and there:
                yield finding("PL737", f"{net.file}: there was no address for more than {there} of the pods")
                return
            self.refused += 1
            yield replace(finding("PL697", f"{name}: {refusal}"), hint=hint(refusal))

    def end(self) -> list[Finding]:
        """Detach the pods, the last one first, and let their namespaces go; tell what could not be done."""
        problems = []
        results = {id(one.attachment): one for one in self.attached}
        for pod, attachment in reversed(self._begun):
            there = results.get(id(attachment))
            try:
                delete(attachment, there.result if there else None, pod.namespace, self._record.lock)
            except Refusal as refusal:
                if there:  # else ADD was refused, which is told
                    problems.append(replace(finding("PL697", f"{there.name}: {refusal}"), hint=hint(refusal)))
        for pod in self._pods:
            pod.end()
        problems += [
            finding("PL697", f"{address} is still reserved for {attachment.container}, after DEL")
            for _, attachment in self._begun
            for address in reserved(attachment)
        ]
        self._record.close(done=not problems)
        return problems


def _addresses(result: Document) -> tuple[str, ...]:
    try:
        return tuple(str(one) for one in chain.addresses(result))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise Refusal("ADD", "of the chain", f"its answer is none that can be read ({error!r})") from error
