"""Operations as plain data and back, strictly: what is read must be exactly what an operation is made of."""

from __future__ import annotations

import binascii
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from podlan.node.addresses import AddressAdd, AddressDelete, AddressMetric, Announce, Gate
from podlan.node.altnames import AltnameAdd, AltnameDelete
from podlan.node.copy import DropCopy
from podlan.node.fileops import DirectoryRemove, Enable, FileRemove, FileWrite
from podlan.node.files import FileState, Root
from podlan.node.links import LinkAdd, LinkDelete, LinkSet
from podlan.node.observe import AddressState, LinkState, RouteState
from podlan.node.operations import SysctlWrite
from podlan.node.prefixes import PrefixAway, PrefixBack
from podlan.node.routes import RouteDelete, RouteReplace
from podlan.node.services import Stop

if TYPE_CHECKING:
    from collections.abc import Callable

    from podlan.node._kernel import Kernel
    from podlan.node.operations import Operation

FILE_OPERATIONS = (FileWrite, FileRemove, Enable, DirectoryRemove, DropCopy)
"""Those that outlive a boot."""

OPERATIONS: dict[str, type[Any]] = {
    one.__name__: one
    for one in (
        LinkAdd,
        LinkDelete,
        LinkSet,
        AddressAdd,
        AddressDelete,
        AddressMetric,
        Announce,
        Gate,
        RouteReplace,
        RouteDelete,
        PrefixAway,
        PrefixBack,
        SysctlWrite,
        AltnameAdd,
        AltnameDelete,
        Stop,
        *FILE_OPERATIONS,
    )
}
STATES: dict[str, type[Any]] = {one.__name__: one for one in (LinkState, AddressState, RouteState, FileState)}
TOLD = ("KeepCopy", "Install")
"""Too large to be kept twice: only the process that did them, and the one that guards it, can take them back."""


@dataclass(frozen=True, slots=True)
class Told:
    """An operation of which only the text was kept."""

    text: str

    def do(self, kernel: Kernel) -> None:
        """Refuse: nobody does what is only told of."""
        raise NotImplementedError(self.text)

    def undo(self, kernel: Kernel) -> None:
        """Leave it as it is: the next run sees to it."""

    def __str__(self) -> str:
        return self.text


def encoded(operation: Operation) -> dict[str, object]:
    """Give an operation as JSON can hold it."""
    name = type(operation).__name__
    if name in TOLD:
        return {"told": name, "text": str(operation)}
    return {"operation": name, "values": _values(OPERATIONS[name], operation)}


def decoded(document: Any, root: Root) -> Operation:  # noqa: ANN401 - whatever the file holds
    """Give the operation that was encoded, its files below `root`; raises ValueError for anything else."""
    if not isinstance(document, dict):
        raise ValueError("an operation is not an object")  # noqa: TRY004 - a file's content, not a caller's mistake
    if document.get("told") in TOLD:
        return Told(_text(document.get("text")))
    if document.get("operation") not in OPERATIONS:
        raise ValueError(f"{document.get('operation')!r} is no operation")
    operation: Operation = _made(OPERATIONS[document["operation"]], document.get("values"), root)
    return operation


def _values(made: type[Any], value: object) -> dict[str, object]:
    return {one.name: _plain(getattr(value, one.name)) for one in fields(made) if one.type != "Root"}


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return binascii.b2a_base64(value, newline=False).decode()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return _values(type(value), value) if type(value).__name__ in STATES else value


def _made(made: type[Any], document: object, root: Root | None = None) -> Any:  # noqa: ANN401 - one of the tables' classes
    own = {one.name: str(one.type) for one in fields(made)}
    given = {name for name, kind in own.items() if kind != "Root"}
    if not isinstance(document, dict) or set(document) != given:
        raise ValueError(f"{made.__name__} has {', '.join(sorted(given))}")
    values = {name: _read(own[name], value) for name, value in document.items()}
    return made(**values, **dict.fromkeys(set(own) - given, root))


def _read(kind: str, value: object) -> object:
    if kind.endswith(" | None"):
        return None if value is None else _read(kind.removesuffix(" | None"), value)
    return _made(STATES[kind], value) if kind in STATES else _READERS[kind](value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not text")  # noqa: TRY004 - as above
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{value!r} is not a number")  # noqa: TRY004 - as above
    return value


def _seconds(value: object) -> float:
    return value if isinstance(value, float) else _number(value)


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")  # noqa: TRY004 - as above
    return value


def _bytes(value: object) -> bytes:
    return binascii.a2b_base64(_text(value), strict_mode=True)


def _several(read: Callable[[object], object]) -> Callable[[object], tuple[object, ...]]:
    def read_all(value: object) -> tuple[object, ...]:
        if not isinstance(value, list):
            raise ValueError(f"{value!r} is not a list")  # noqa: TRY004 - as above
        return tuple(read(item) for item in value)

    return read_all


def _pair(first: Callable[[object], object], second: Callable[[object], object]) -> Callable[[object], object]:
    def read_pair(value: object) -> object:
        if not isinstance(value, list) or len(value) != 2:  # noqa: PLR2004 - a pair
            raise ValueError(f"{value!r} is not a pair")
        return first(value[0]), second(value[1])

    return read_pair


_READERS: dict[str, Callable[[object], object]] = {
    "str": _text,
    "int": _number,
    "float": _seconds,
    "bool": _truth,
    "bytes": _bytes,
    "tuple[str, ...]": _several(_text),
    "tuple[int, int]": _pair(_number, _number),
    "tuple[tuple[str, str], ...]": _several(_pair(_text, _text)),
    # A route's metrics are numbers, all but the name of a congestion control.
    "tuple[tuple[str, int], ...]": _several(
        _pair(_text, lambda value: value if isinstance(value, str) else _number(value))
    ),
}
"""By the annotation of a field."""
