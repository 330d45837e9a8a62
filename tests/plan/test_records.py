"""A record is what the standard library's frozen, slotted dataclass is, to all who use it."""

import copy
import dataclasses
import pickle

import pytest

from podlan import records


def _fields(dataclass):
    @dataclass(frozen=True, slots=True, order=True)
    class Pair:
        """Two things, and a remark that does not count."""

        first: int
        second: tuple[str, ...] = ("x",)
        made: dict[str, int] = dataclasses.field(default_factory=dict)
        remark: str = dataclasses.field(default="", compare=False)

        @property
        def doubled(self):
            return self.first * 2

    return Pair


@dataclasses.dataclass(frozen=True, slots=True)
class _Told:
    value: object = None
    error: str = ""


def told(step):
    try:
        return _Told(step())
    except (TypeError, AttributeError) as error:
        return _Told(error=type(error).__name__)


OWN, STANDARD = _fields(records.dataclass), _fields(dataclasses.dataclass)
USES = {
    "shown": lambda kind: repr(kind(1, ("y",), remark="r")),
    "equal whatever the remark": lambda kind: kind(1, remark="a") == kind(1, remark="b"),
    "unequal": lambda kind: kind(1) == kind(2),
    "unequal to its values": lambda kind: kind(1) == (1, ("x",), {}, ""),
    "sorted": lambda kind: [one.first for one in sorted([kind(2), kind(1), kind(3)])],
    "not sorted among others": lambda kind: kind(1) < 1,
    "hashed": lambda kind: len({kind(1, made=()), kind(1, made=(), remark="r")}),
    "not hashed with what cannot be": lambda kind: hash(kind(1)),
    "replaced": lambda kind: dataclasses.replace(kind(1), second=()).second,
    "a plain mapping": lambda kind: dataclasses.asdict(kind(1, made={"a": 2})),
    "matched": lambda kind: kind.__match_args__,
    "a factory's value of its own": lambda kind: kind(1).made is kind(1).made,
    "a property": lambda kind: kind(2).doubled,
    "no value": lambda kind: kind(),
    "a value too many": lambda kind: kind(1, (), {}, "", 5),
    "a value twice": lambda kind: kind(1, first=1),
    "an unknown field": lambda kind: kind(1, third=3),
    "a field set": lambda kind: setattr(kind(1), "first", 2),
    "a field deleted": lambda kind: delattr(kind(1), "first"),
    "copied": lambda kind: copy.deepcopy(kind(1, made={"a": 1})).made,
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_record_does_what_a_dataclass_does(use):
    assert told(lambda: use(OWN)) == told(lambda: use(STANDARD))


def test_a_record_can_be_pickled():
    from podlan.plan import Route  # noqa: PLC0415 - a class that a module has

    route = Route("eth0", "192.0.2.0/24", metric=7)
    assert pickle.loads(pickle.dumps(route)) == route  # noqa: S301 - our own


def test_a_record_is_frozen_and_has_slots():
    with pytest.raises(TypeError, match="frozen"):
        records.dataclass(frozen=False, slots=True)
