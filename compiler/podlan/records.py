"""Frozen, slotted dataclasses that cost next to nothing at import.

`dataclasses.dataclass` writes eight methods of each class as text and compiles them: 0.7 ms a class, and a node's run,
which is over in a tenth of a second, has fifty classes. Here the standard library makes the fields only, so that its
`fields`, `replace` and `asdict` know the class; `__init__` is compiled when the first instance is made.
"""

from __future__ import annotations

import dataclasses
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import dataclass as dataclass  # noqa: PLC0414 - to a type checker it is the standard library's

_T = TypeVar("_T")

if not TYPE_CHECKING:

    def dataclass(*, frozen: bool, slots: bool, order: bool = False) -> Callable[[type[_T]], type[_T]]:
        """Make a class what `dataclasses.dataclass(frozen=True, slots=True)` would make it."""
        if not (frozen and slots):
            raise TypeError("podlan.records.dataclass is for what is frozen and has slots")
        return lambda plain: _record(plain, _METHODS | {"__lt__": _is_less} if order else _METHODS)


def _record(plain: type[_T], methods: dict[str, Callable[..., object]]) -> type[_T]:
    plain.__doc__ = plain.__doc__ or plain.__name__  # else the standard library writes one: 2 ms
    kind: Any = dataclasses.dataclass(init=False, repr=False, eq=False, slots=True)(plain)
    compared = [field.name for field in dataclasses.fields(kind) if field.compare]
    kind.values_compared = attrgetter(*compared)
    for name, method in methods.items():
        if name not in vars(plain):
            setattr(kind, name, method)
    made: type[_T] = kind
    return made


def _first_init(self: Any, *values: object, **named: object) -> None:  # noqa: ANN401 - a record, here and below
    kind: Any = type(self)
    kind.__init__ = _compiled_init(dataclasses.fields(kind))
    kind.__init__(self, *values, **named)


def _compiled_init(fields: tuple[dataclasses.Field[Any], ...]) -> Callable[..., None]:
    scope: dict[str, Any] = {"put": object.__setattr__, "MISSING": dataclasses.MISSING}
    parameters, lines = [], []
    for field in fields:
        name = value = parameter = field.name
        if field.default is not dataclasses.MISSING:
            scope[f"default_{name}"] = field.default
            parameter = f"{name}=default_{name}"
        elif field.default_factory is not dataclasses.MISSING:
            scope[f"make_{name}"] = field.default_factory
            parameter = f"{name}=MISSING"
            value = f"make_{name}() if {name} is MISSING else {name}"
        parameters.append(parameter)
        lines.append(f"    put(self, {name!r}, {value})\n")
    exec(f"def __init__(self, {', '.join(parameters)}):\n{''.join(lines)}", scope)  # noqa: S102 - our own names only
    init: Callable[..., None] = scope["__init__"]
    return init


def _is_equal(self: Any, other: Any) -> object:  # noqa: ANN401
    if other.__class__ is not self.__class__:
        return NotImplemented
    return self.values_compared(self) == self.values_compared(other)


def _is_less(self: Any, other: Any) -> object:  # noqa: ANN401
    if other.__class__ is not self.__class__:
        return NotImplemented
    return self.values_compared(self) < self.values_compared(other)


def _hash(self: Any) -> int:  # noqa: ANN401
    return hash(self.values_compared(self))


def _repr(self: Any) -> str:  # noqa: ANN401
    body = ", ".join(f"{field.name}={getattr(self, field.name)!r}" for field in dataclasses.fields(self))
    return f"{self.__class__.__qualname__}({body})"


def _reduce(self: Any) -> tuple[type, tuple[object, ...]]:  # noqa: ANN401
    return self.__class__, tuple(getattr(self, field.name) for field in dataclasses.fields(self))


def _refuse_to_set(self: Any, name: str, value: object) -> None:  # noqa: ANN401
    del self, value
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_to_delete(self: Any, name: str) -> None:  # noqa: ANN401
    del self
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


_METHODS: dict[str, Callable[..., object]] = {
    "__init__": _first_init,
    "__eq__": _is_equal,
    "__hash__": _hash,
    "__repr__": _repr,
    "__reduce__": _reduce,
    "__setattr__": _refuse_to_set,
    "__delattr__": _refuse_to_delete,
}
