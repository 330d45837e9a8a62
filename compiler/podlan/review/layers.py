"""A value that applies to a node: what the node says, else its profiles from the last, else the site, else podlan."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from podlan.inventory import cni_version, newest_for_plugins, newest_for_runtime
from podlan.plan import decode
from podlan.planning import blueprint
from podlan.render import render
from podlan.review import schema
from podlan.review.answer import Answer, Step, written
from podlan.review.forms import PLAN
from podlan.review.provenance import slice_steps
from podlan.review.writing import NoSuchPath, entries, nearest
from podlan.source import dotted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.addressing import Allocation
    from podlan.inventory import Attachment, ResolvedNode, Site
    from podlan.pipeline import Checked
    from podlan.source import KeyPath

_SHORTHAND = {"addresses": "address", "pods": "pods", "ranges": "ranges"}
_NODE_ONLY = frozenset({"profiles", "was", "masters"})
_EMPTY_SAYS_NOTHING = frozenset({"addresses", "ranges", "role", "boot", "interface", "pods"})
"""Keys whose empty value leaves what stands below in force; elsewhere null and [] are values."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One place that may say a value: who it is, and the path there."""

    source: str
    path: KeyPath


@dataclass(frozen=True, slots=True)
class NodeValues:
    """Answers what applies to one node."""

    checked: Checked
    site: Site
    allocation: Allocation
    node: ResolvedNode

    @property
    def base(self) -> KeyPath:
        """Where the node itself stands."""
        return ("nodes", self.node.name)

    def answer(self, keys: tuple[str | int, ...]) -> Answer:
        """Tell what is at a path below the node, and why. Raises NoSuchPath."""
        if keys and isinstance(keys[0], int):
            raise NoSuchPath(f"{dotted(self.base)} has keys, no entry {keys[0]}", "")
        if keys[:1] == ("address",) and keys[1:] in ((), (0,)):
            return self._address()
        names = tuple(key for key in keys if isinstance(key, str))
        indexes = keys[len(names) :]
        if any(isinstance(key, str) for key in indexes):
            return self._inside_list(keys)
        spot = self._spot(names)
        subject = dotted((*self.base, *keys))
        if not spot.is_leaf:
            return self._section(subject, names)
        found = self._leaf(names)
        return _indexed(Answer(subject, found.value, found.steps, found.verdict), indexes)

    def _address(self) -> Answer:
        """Answer the shorthand for the first of the addresses on the node's only master."""
        found = self._leaf(("addresses",))
        return Answer(dotted((*self.base, "address")), found.value[0] if found.value else None, found.steps)

    def _inside_list(self, keys: tuple[str | int, ...]) -> Answer:
        """Go into an entry of a list of records: lists are replaced whole, so the entry stands where the list does."""
        length = next(index for index, key in enumerate(keys) if isinstance(key, int))
        names = tuple(str(key) for key in keys[:length])
        self._spot(names)
        found = self._leaf(names)
        return _indexed(Answer(dotted((*self.base, *keys)), found.value, found.steps), keys[length:])

    def _attachment(self, name: str | None) -> Attachment:
        attachments = self.node.attachments
        if name is None and len(attachments) == 1:
            return attachments[0]
        known = [item.name for item in attachments]
        if name in known:
            return attachments[known.index(str(name))]
        problem = f"{self.node.name} has several masters" if name is None else f"{self.node.name} has no master {name}"
        raise NoSuchPath(problem, nearest(name or "", known))

    def _full(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Write a shorthand out: what belongs to the node's only master may be asked at the node."""
        if not names or names[0] in _NODE_ONLY or (names[0] in self._known() and names[0] not in _at_master()):
            return names
        key = "addresses" if names[0] == "address" else names[0]
        if key in _at_master():
            return ("masters", self._attachment(None).name, key, *names[1:])
        return names

    def _known(self) -> dict[str, object]:
        spot = schema.at(self.base)
        return {} if spot is None else {**spot.keys, **_at_master()}

    def _spot(self, names: tuple[str, ...]) -> schema.Spot:
        """Find what may stand at a path below the node, where node, profile and master together decide."""
        full = self._full(names)
        if len(full) > 1 and full[0] == "masters":
            self._attachment(full[1])
        spot = self._lookup(full)
        if spot is not None:
            return spot
        good = next(size for size in range(len(full) - 1, -1, -1) if self._lookup(full[:size]) is not None)
        below = self._lookup(full[:good])
        keys = self._known() if good == 0 else _at_master() if _is_master(full[:good]) else below.keys if below else {}
        raise NoSuchPath(
            f"podlan knows no key {full[good]} at {dotted((*self.base, *full[:good]))}", nearest(full[good], keys)
        )

    def _lookup(self, full: tuple[str, ...]) -> schema.Spot | None:
        return schema.at((*self.base, *full)) or (schema.at(full) if full[:1] == ("masters",) else None)

    def _section(self, subject: str, names: tuple[str, ...]) -> Answer:
        parts = [self.answer(leaf) for leaf in self._leaves(names)]
        return Answer(subject, {part.subject: part.value for part in parts}, parts=tuple(parts))

    def _leaves(self, names: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        """Name every value below a section that applies to the node."""
        full = self._full(names)
        spot = self._spot(names)
        if spot.is_leaf:
            yield full
        elif not full:
            for key in spot.keys:
                if key not in ("address", "ranges", "pods"):
                    yield from self._leaves((key,))
        elif full == ("masters",):
            for attachment in self.node.attachments:
                yield from self._leaves((*full, attachment.name))
        else:
            keys = _at_master() if _is_master(full) else spot.keys
            for key in keys:
                yield from self._leaves((*full, key))

    def _leaf(self, names: tuple[str, ...]) -> Answer:
        full = self._full(names)
        said = [layer for layer in self._layers(full) if self._says(layer, full)]
        steps = [
            written(
                self.site, layer.source, layer.path, _overridden(rank) + f"{dotted(layer.path)}: {self._shown(layer)}"
            )
            for rank, layer in enumerate(said)
        ]
        value = self.site.source.get(said[0].path) if said else None
        if said and said[0].path[-1] == "address":
            value = [value]
        if value is None or (value == [] and full[-1] == "ranges"):
            return self._unsaid(full, steps)
        return Answer("", value, tuple(steps))

    def _layers(self, full: tuple[str, ...]) -> Iterator[Layer]:
        holders: list[tuple[str, KeyPath]] = [("node", self.base)]
        holders += [(f"profile {name}", ("profiles", name)) for name in reversed(self.node.profiles)]
        spellings: list[tuple[str, ...]] = [full]
        if _is_master(full[:2]) and len(full) > 2 and full[2] in _SHORTHAND:  # noqa: PLR2004 - masters, NAME, KEY
            spellings.append((_SHORTHAND[full[2]], *full[3:]))
        for source, holder in holders[: 1 if full[0] in ("profiles", "was") else None]:
            yield from (Layer(source, (*holder, *spelling)) for spelling in spellings)
        if _is_master(full[:2]) and full[2:] == ("pods",):
            full = (*full[:2], "podsPerNode")
        if full[0] not in ("profiles", "was"):
            yield Layer("site", full)

    def _says(self, layer: Layer, full: tuple[str, ...]) -> bool:
        source = self.site.source
        return source.has(layer.path) and not (full[-1] in _EMPTY_SAYS_NOTHING and source.get(layer.path) in (None, []))

    def _shown(self, layer: Layer) -> str:
        return shown(self.site.source.get(layer.path))

    def _unsaid(self, full: tuple[str, ...], steps: list[Step]) -> Answer:
        """Answer what nobody wrote: what the allocator gave, what follows by a rule, or podlan's default."""
        found = self._allocated(full) or self._derived(full, steps)
        if found is not None:
            return found
        spot = self._lookup(full) if full[0] in ("profiles", "was") else schema.at(full) or self._lookup(full)
        if spot is None or steps:
            return Answer("", None, tuple(steps))
        return Answer("", schema.plain(spot.default), (default_step(full, spot),))

    def _allocated(self, full: tuple[str, ...]) -> Answer | None:
        if not _is_master(full[:2]) or full[2:] not in (("ranges",), ("pods",)):
            return None
        attachment = self._attachment(full[1])
        if full[2] == "ranges":
            return self._slices(attachment)
        is_pinned = bool(attachment.ranges)
        text = "nobody says it: the size is that of the pinned ranges"
        return Answer("", None, (Step("pin", text),)) if is_pinned else None

    def _derived(self, full: tuple[str, ...], steps: list[Step]) -> Answer | None:
        if full == ("cni", "cniVersion"):
            return Answer("", cni_version(self.node), (*steps, *self._cni_version()))
        if full == ("cni", "fileName"):
            text = "the name that sorts first; its ending follows cni.format"
            return Answer("", self._file_name(), (*steps, Step("rule", text), *self._leaf(("cni", "format")).steps[:1]))
        if _is_master(full[:2]) and full[2:] == ("hostAccess", "interface"):
            text = "macvlan0, or on a secondary master mv- and its name"
            return Answer("", self._attachment(full[1]).child, (*steps, Step("rule", text)))
        if _is_master(full[:2]) and full[2:] == ("interface",):
            return Answer("", self._attachment(full[1]).interface, (*steps, Step("rule", "LINK.ID of its vlan")))
        if full == ("role",):
            return Answer("", "worker", (*steps, Step("default", "a node is a worker unless it says otherwise")))
        return None

    def _slices(self, attachment: Attachment) -> Answer:
        keys = [(subnet, node) for subnet, node in self.allocation.slices if node == self.node.name]
        subnets = [subnet for subnet, _ in keys if subnet in attachment.master.subnets]
        items = [str(item) for subnet in subnets for item in self.allocation.slices[(subnet, self.node.name)]]
        steps = [step for subnet in subnets for step in slice_steps(self.checked, self.site, subnet, self.node)]
        return Answer("", items, tuple(steps))

    def _cni_version(self) -> Iterator[Step]:
        plugins, runtime = self.node.cni.plugins.version, self.node.cluster.runtime
        yield Step("rule", "the newest that plugins and runtime take, at most 1.0.0")
        for keys, limit, what in (
            (("cni", "plugins", "version"), newest_for_plugins(plugins), f"plugins {plugins or 'of unknown version'}"),
            (("cluster", "runtime"), newest_for_runtime(self.node.cluster), runtime),
            (("cluster", "runtimeVersion"), "", ""),
        ):
            first = next(iter(self._leaf(keys).steps), None)
            text = f"{what} take{'s' * (what == runtime)} up to {limit}; " if limit else ""
            if first is not None:
                yield Step(first.source, text + first.text, first.place)

    def _file_name(self) -> str:
        """Ask the plan: the renderer decides."""
        files = render(blueprint(self.site, self.node, self.allocation))
        plan = decode(files[PLAN].decode(), PLAN)
        return plan.cni.file.rpartition("/")[2] if plan.cni else ""


def _is_master(full: tuple[str, ...]) -> bool:
    return len(full) == 2 and full[0] == "masters"  # noqa: PLR2004 - masters, NAME


def _at_master() -> dict[str, object]:
    """Give the keys that a node's master has: its own, and those of the site's master that nobody can override."""
    own, site = schema.at(("nodes", "", "masters", "")), schema.at(("masters", ""))
    keys: dict[str, object] = {**(own.keys if own else {}), **(site.keys if site else {})}
    keys.pop("podsPerNode", None)
    return keys


def _overridden(rank: int) -> str:
    return "overridden: " if rank else ""


def default_step(path: KeyPath, spot: schema.Spot) -> Step:
    """Say that nothing is written, and what the key means."""
    description = spot.field.description if spot.field is not None else None
    return Step("default", f"{dotted(path)} is written nowhere" + (f" ({description})" if description else ""))


def shown(value: Any) -> str:  # noqa: ANN401 - data of any shape
    """Write a value on one line."""
    return json.dumps(value, ensure_ascii=False)


def _indexed(answer: Answer, keys: tuple[str | int, ...]) -> Answer:
    """Go into a value by the rest of a path."""
    value = answer.value
    for key in keys:
        is_there = (isinstance(value, list) and isinstance(key, int) and key < len(value)) or (
            isinstance(value, dict) and key in value
        )
        if not is_there:
            names = map(str, value) if isinstance(value, dict) else ()
            what = "the value is no list" if not isinstance(value, list) else entries(len(value))
            raise NoSuchPath(f"there is no {answer.subject}: {what}", nearest(key, names))
        value = value[key]
    return Answer(answer.subject, value, answer.steps, answer.verdict)
