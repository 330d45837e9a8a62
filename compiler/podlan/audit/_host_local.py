"""Which addresses host-local hands out, by its configuration alone (plugins/ipam/host-local/backend/allocator).

The reading is that of 0.8.0 and later; 0.7 let host bits pass and refused a gateway outside the subnet.
tests/audit holds it against the real plugin.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from podlan.audit._addresses import BITS, Span, network_text, parse_address, parse_network, to_text
from podlan.audit._go_json import Fields
from podlan.audit._remarks import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from podlan.audit._remarks import JsonPath

KNOWN = frozenset({"type", "name", "routes", "datadir", "resolvconf", "ranges"})
RANGE = frozenset({"subnet", "rangestart", "rangeend", "gateway"})
_SMALLEST = 4  # a /31 or /127 has no addresses to give, says host-local


@dataclass(frozen=True, slots=True)
class Range:
    """One range as host-local completes it. `gateway` is (family, address); host-local withholds it from this range."""

    subnet: Span
    span: Span
    gateway: tuple[int, int]
    has_gateway: bool
    path: JsonPath
    start: str = "rangeStart"
    """The key by which the range is shown: a range without a start begins where its subnet does."""

    def parts(self) -> Iterator[Span]:
        """Give what is handed out: the range without its own gateway."""
        family, first, last = self.span
        _, gateway = self.gateway
        if not self.span.holds(*self.gateway):
            yield self.span
            return
        if first < gateway:
            yield Span(family, first, gateway - 1)
        if gateway < last:
            yield Span(family, gateway + 1, last)


@dataclass(slots=True)
class Reading:
    """What host-local makes of a configuration: with anything in `refused` it serves nobody."""

    sets: list[list[Range]] = field(default_factory=list)
    hops: list[tuple[int, int, JsonPath]] = field(default_factory=list)
    refused: list[tuple[JsonPath, str]] = field(default_factory=list)
    objects: list[tuple[Fields, JsonPath, frozenset[str]]] = field(default_factory=list)

    @property
    def ranges(self) -> list[Range]:
        """Give every range of every set; none where host-local refuses the configuration."""
        return [] if self.refused else [item for group in self.sets for item in group]


def read_host_local(config: Fields, ipam: Fields, at: JsonPath, base: JsonPath) -> Reading:
    """Read the `ipam` object at path `at` in the plugin configuration at `base`, whose members are `config`."""
    reading = Reading(objects=[(ipam, at, KNOWN | RANGE)])
    for name in ("dataDir", "resolvConf"):
        if ipam.get(name) is not None and not isinstance(ipam.get(name), str):
            reading.refused.append(((*at, ipam.key(name)), f"{name} must be a string, not {quoted(ipam.get(name))}"))
    runtime = config.get("runtimeConfig")
    if isinstance(runtime, dict):
        inner = Fields(runtime)
        path = (*base, config.key("runtimeConfig"), inner.key("ipRanges"))
        _read_sets(inner.get("ipRanges"), path, reading)
    if ipam.has("subnet"):
        # The old form, one range beside `type`, comes before those of `ranges`.
        reading.sets.append(_read_set([ipam], [at], at, reading))
    else:
        # What else of a range stands there is read, and then forgotten.
        reading.objects[0] = (ipam, at, KNOWN)
        _read_addresses(ipam, ("gateway", "rangeStart", "rangeEnd"), at, reading)
    _read_sets(ipam.get("ranges"), (*at, ipam.key("ranges")), reading)
    if not reading.sets and not reading.refused:
        reading.refused.append((at, "there is no range"))
    _read_routes(ipam.get("routes"), (*at, ipam.key("routes")), reading)
    if not reading.refused:
        _compare_sets(reading, config.text("cniVersion"), at)
    return reading


def _read_sets(value: Any, at: JsonPath, reading: Reading) -> None:  # noqa: ANN401 - a JSON value can be anything
    if value is None:
        return
    if not isinstance(value, list):
        reading.refused.append((at, "ranges must be a list of lists of ranges"))
        return
    for index, group in enumerate(value):
        path = (*at, index)
        if isinstance(group, dict):
            message = "a range stands where a list of ranges must be: ranges is a list of lists, [[{...}]]"
            reading.refused.append((path, message))
        elif not isinstance(group, list) or not group:
            reading.refused.append((path, "a set of ranges must be a list of one range or more"))
        else:
            paths = [(*path, number) for number in range(len(group))]
            objects = [Fields(item if isinstance(item, dict) else {}) for item in group]
            reading.objects += [(item, where, RANGE) for item, where in zip(objects, paths, strict=True)]
            reading.sets.append(_read_set(objects, paths, path, reading))


def _read_set(objects: list[Fields], paths: list[JsonPath], at: JsonPath, reading: Reading) -> list[Range]:
    found = []
    for item, path in zip(objects, paths, strict=True):
        try:
            found.append(_read_range(item, path))
        except _Refused as refused:
            reading.refused.append((refused.path, refused.message))
    if len({item.span.family for item in found}) > 1:
        reading.refused.append((at, "one set mixes IPv4 and IPv6: each family needs a set of its own"))
    _refuse_overlap([(item.span, item.path) for item in found], "in one set", reading)
    return found


class _Refused(Exception):
    """host-local stops at this."""

    def __init__(self, path: JsonPath, message: str) -> None:
        super().__init__(path, message)
        self.path = path
        self.message = message


def _read_range(item: Fields, at: JsonPath) -> Range:
    subnet = _subnet(item, at)
    family = subnet.family
    gateway = _address(item, "gateway", at)
    ends = []
    # rangeEnd leaves out the last address of IPv4 only, which is the broadcast address there.
    for name, default in (("rangeStart", subnet.first + 1), ("rangeEnd", subnet.last - (family == 4))):  # noqa: PLR2004 - IPv4
        written = _address(item, name, at)
        if written is not None and not subnet.holds(*written):
            text = to_text(*written)
            raise _Refused((*at, item.key(name)), f"{name} {text} is not in {network_text(subnet)}")
        ends.append(default if written is None else written[1])
    if ends[0] > ends[1]:
        path = (*at, item.key("rangeStart" if item.has("rangeStart") else "rangeEnd"))
        message = f"the range starts at {to_text(family, ends[0])}, after its end {to_text(family, ends[1])}"
        if _address(item, "rangeEnd", at) is None:
            # The one case that passes its checks: it looks for the end for ever.
            message += ", which is not given: host-local hands out what follows the subnet"
        raise _Refused(path, message)
    return Range(
        subnet,
        Span(family, *ends),
        gateway or (family, subnet.first + 1),
        has_gateway=gateway is not None,
        path=at,
        start="rangeStart" if item.has("rangeStart") else "subnet",
    )


def _subnet(item: Fields, at: JsonPath) -> Span:
    if not item.has("subnet"):
        raise _Refused(at, "a range needs a subnet")
    path, value = (*at, item.key("subnet")), item.get("subnet")
    try:
        subnet, address = parse_network(value if isinstance(value, str) else "")
    except ValueError:
        raise _Refused(path, f"subnet must be a network like 10.0.0.0/24, not {quoted(value)}") from None
    if subnet.last - subnet.first + 1 < _SMALLEST:
        raise _Refused(path, f"{network_text(subnet)} is too small: host-local takes a /30 or /126 or larger")
    if address != subnet.first:
        raise _Refused(path, f"{value} has host bits set: the network is {network_text(subnet)}")
    return subnet


def _address(item: Fields, name: str, at: JsonPath) -> tuple[int, int] | None:
    """Read an optional address; Go takes the empty string for none."""
    value = item.get(name)
    if value is None or value == "":
        return None
    try:
        return parse_address(value if isinstance(value, str) else "")
    except ValueError:
        raise _Refused((*at, item.key(name)), f"{name} must be an address, not {quoted(value)}") from None


def _read_addresses(item: Fields, names: tuple[str, ...], at: JsonPath, reading: Reading) -> None:
    for name in names:
        try:
            _address(item, name, at)
        except _Refused as refused:
            reading.refused.append((refused.path, refused.message))


def _refuse_overlap(spans: Sequence[tuple[Span, JsonPath]], where: str, reading: Reading) -> None:
    """Find any two that overlap: after sorting, such a pair is found beside the one that reaches farthest."""
    reaches: tuple[Span, JsonPath] | None = None
    for span, path in sorted(spans):
        if reaches and reaches[0].family == span.family and span.first <= reaches[0].last:
            reading.refused.append((path, f"two ranges {where} overlap: {reaches[0]} and {span}"))
        if not reaches or (reaches[0].family, reaches[0].last) < (span.family, span.last):
            reaches = (span, path)


def _compare_sets(reading: Reading, version: str, at: JsonPath) -> None:
    spans: list[tuple[Span, JsonPath]] = [
        (item.span, (number,)) for number, group in enumerate(reading.sets) for item in group
    ]
    for family in BITS:
        of_family = [group for group in reading.sets if group[0].span.family == family]
        if len(of_family) > 1 and _is_before_0_3(version):
            message = f"cniVersion {version or '0.1.0 (not given)'} allows one set of IPv{family} ranges only"
            reading.refused.append((at, message))
    found = Reading()
    _refuse_overlap(spans, "of different sets", found)
    numbered = {number: group[0].path for number, group in enumerate(reading.sets)}
    reading.refused += [(numbered[int(path[0])], message) for path, message in found.refused]


def _is_before_0_3(version: str) -> bool:
    numbers = [int(part) for part in version.split(".")[:2] if part.isascii() and part.isdigit() and len(part) < 5]  # noqa: PLR2004 - no version has so many digits
    return numbers < [0, 3]


def _read_routes(value: Any, at: JsonPath, reading: Reading) -> None:  # noqa: ANN401 - a JSON value can be anything
    if value is None:
        return
    if not isinstance(value, list):
        reading.refused.append((at, "routes must be a list"))
        return
    for index, item in enumerate(value):
        if item is None:
            continue
        try:
            hop = _read_route(item, (*at, index))
        except _Refused as refused:
            reading.refused.append((refused.path, refused.message))
        else:
            reading.hops += [hop] if hop else []


def _read_route(item: Any, at: JsonPath) -> tuple[int, int, JsonPath] | None:  # noqa: ANN401 - a JSON value
    """Give a route's next hop, if it has one of its own."""
    if not isinstance(item, dict):
        raise _Refused(at, "a route must be an object")
    route = Fields(item)
    if route.has("dst"):
        value = route.get("dst")
        try:
            parse_network(value if isinstance(value, str) else "")
        except ValueError:
            message = f"dst must be a network like 0.0.0.0/0, not {quoted(value)}"
            raise _Refused((*at, route.key("dst")), message) from None
    hop = _address(route, "gw", at)
    return hop and (*hop, (*at, route.key("gw")))
