"""A journal gives every operation back as it was, and believes nothing that podlan did not write."""

import copy
import json
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as some

from podlan.node import journal, recorded, state, unfinished
from podlan.node.files import FileState, Root
from podlan.node.operations import SysctlWrite
from podlan.node.recorded import Told, decoded, encoded

WORDS = some.text(max_size=20)
FIELDS = {
    "str": WORDS,
    "int": some.integers(-(2**40), 2**40),
    "float": some.floats(allow_nan=False, allow_infinity=False),
    "bool": some.booleans(),
    "bytes": some.binary(max_size=50),
    "tuple[str, ...]": some.lists(WORDS).map(tuple),
    "tuple[int, int]": some.tuples(some.integers(), some.integers()),
    "tuple[tuple[str, str], ...]": some.lists(some.tuples(WORDS, WORDS)).map(tuple),
    "tuple[tuple[str, int], ...]": some.lists(some.tuples(WORDS, some.integers() | WORDS)).map(tuple),
    "Root": some.just(Root("/somewhere")),
}


def values(made):
    return some.builds(made, **{field.name: value(field.type) for field in fields(made)})


def value(kind):
    if kind.endswith(" | None"):
        return some.none() | value(kind.removesuffix(" | None"))
    return values(recorded.STATES[kind]) if kind in recorded.STATES else FIELDS[kind]


OPERATIONS = some.one_of([values(made) for made in recorded.OPERATIONS.values()])


def every_operation():
    """Give the classes that have `do` and `undo`, in all modules that this program has imported."""
    import sys  # noqa: PLC0415 - used here only

    import podlan.node.reconcile  # noqa: F401, PLC0415 - it imports all operations

    modules = [module for name, module in list(sys.modules.items()) if name.startswith("podlan.node.")]
    found = {one for module in modules for one in vars(module).values() if isinstance(one, type)}
    return {one.__name__ for one in found if {"do", "undo", "__dataclass_fields__"} <= set(dir(one))}


def test_the_journal_knows_every_operation_that_there_is():
    assert every_operation() == {*recorded.OPERATIONS, *recorded.TOLD, "Told"}


@given(OPERATIONS)
def test_an_operation_read_is_the_operation_written(operation):
    assert decoded(json.loads(json.dumps(encoded(operation))), Root("/somewhere")) == operation


@given(OPERATIONS, some.data())
def test_an_operation_with_anything_else_in_it_is_refused(operation, data):
    document = encoded(operation)
    broken = copy.deepcopy(document)
    values = broken["values"]
    if values and data.draw(some.booleans()):
        name = data.draw(some.sampled_from(sorted(values)))
        values[name] = data.draw(some.just({"a": 1}) | some.just([[[]]]))
    else:
        values["more"] = 1
    with pytest.raises(ValueError, match=r"."):
        decoded(broken, Root())
    with pytest.raises(ValueError, match=r"is no operation"):
        decoded({**document, "operation": "Path"}, Root())


@pytest.fixture
def root(tmp_path):
    root = Root(str(tmp_path))
    root.make_directory("/run/podlan")
    return root


WRITE = "/etc/one"


def begun(root, **changes):
    """Give the text of a journal of one operation, with changes."""
    journal.begin(root, "node-1", [SysctlWrite("net/ipv4/ip_forward", "1", "0")])
    found = root.read(unfinished.JOURNAL)
    return json.dumps({**json.loads(found.content), **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 1},
        {"operations": [{"operation": "Nothing"}]},
        {"operations": {}, "state": 1, "node": None, "version": "2"},
        {"operations": 7},
        {"operations": [[]]},
    ],
)
def test_a_journal_that_podlan_did_not_write_is_not_followed(root, changes):
    text = begun(root, **changes)
    root.write(unfinished.JOURNAL, text.encode(), 0o600)
    found = journal.take_back_interrupted(root)
    assert found.problem.startswith(root.shown(unfinished.JOURNAL))
    assert unfinished.is_open(root)


def test_a_journal_that_others_could_have_written_is_not_followed(root):
    root.write(unfinished.JOURNAL, begun(root).encode(), 0o666)
    assert "others than root" in journal.take_back_interrupted(root).problem


@pytest.mark.kernel
def test_of_an_earlier_boot_only_the_files_are_taken_back(root, monkeypatch):
    from podlan.node.fileops import FileWrite  # noqa: PLC0415 - of this test only

    root.write(WRITE, b"before\n", 0o640)
    write = FileWrite(root, WRITE, b"after\n", 0o640, FileState(b"before\n", 0o640))
    write.do(None)
    before = root.read(state.STATE)
    text = begun(root, boot="another", operations=[encoded(write), encoded(SysctlWrite("net/none/such", "1", "0"))])
    root.write(unfinished.JOURNAL, text.encode(), 0o600)
    monkeypatch.setattr(SysctlWrite, "undo", lambda *_: pytest.fail("the kernel's part is void"))
    assert journal.take_back_interrupted(root) == journal.Interrupted(1)
    assert root.read(WRITE).content == b"before\n"
    assert root.read(state.STATE) == before
    assert not unfinished.is_open(root)


def test_what_only_the_run_itself_can_take_back_is_kept_as_text(root):
    entry = {"told": "KeepCopy", "text": "cp -RT a b"}
    assert decoded(entry, root) == Told("cp -RT a b")
    assert str(decoded(entry, root)) == "cp -RT a b"
