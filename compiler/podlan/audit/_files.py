"""Reading a directory as a runtime does: which file it takes, and what is wrong with that file."""

from __future__ import annotations

from json import JSONDecodeError
from pathlib import Path
from typing import TYPE_CHECKING

from podlan.audit._go_json import decode
from podlan.audit._networks import Contents, Network, looks_like_cni, read_networks
from podlan.audit._positions import Positions
from podlan.audit._remarks import Remark, Spot, quoted
from podlan.audit._text import text_of

if TYPE_CHECKING:
    from podlan.audit._owners import CniFile, Directory


def read_directory(directory: Directory) -> tuple[list[Network], list[Remark]]:
    """Read what a runtime takes: the first file that is one, and what lies beside it only where Multus may call it."""
    networks: list[Network] = []
    remarks: list[Remark] = []
    takes_all = directory.is_multus
    taken: CniFile | None = None
    for file in directory.files:
        if taken is not None:
            message = f"not audited: a runtime uses one file of a directory, and {Path(taken.path).name} comes first"
            hint = f"both were taken for files of {file.node}; put files of different nodes into different directories"
            remarks.append(Remark("PL709", message, Spot(file.path, line=1), hint))
            continue
        contents = read_file(file, is_default=not directory.is_multus and not networks)
        remarks += contents.remarks
        networks += contents.networks
        takes_all = takes_all or contents.delegates
        if contents.is_cni and not takes_all:
            taken = file
    return networks, remarks


def read_file(file: CniFile, *, is_default: bool = True) -> Contents:
    """Read one file; `is_cni` of the result tells whether a runtime could."""
    try:
        text = text_of(file.path)
        value, has_doubles = decode(text)
    except JSONDecodeError as error:
        if not file.expected and error.doc.strip() and not error.doc.lstrip().startswith("{"):
            return _no_cni(file)
        message = f"this is not JSON: {error.msg}"
        return Contents([], [Remark("PL701", message, Spot(file.path, line=error.lineno, column=error.colno))])
    except ValueError as error:
        return Contents([], [Remark("PL701", f"this is not JSON: {error}", Spot(file.path, line=1))])
    if not looks_like_cni(value):
        if not file.expected:
            return _no_cni(file)
        return Contents([], [Remark("PL703", "this is JSON, but no CNI configuration", Spot(file.path))])
    contents = read_networks(value, file.path, file.node, is_default=is_default)
    if has_doubles:
        contents.remarks += _doubles(file.path, text)
    return contents


def _no_cni(file: CniFile) -> Contents:
    return Contents([], [Remark("PL702", "not audited: this is no CNI configuration", Spot(file.path, line=1))])


def _doubles(path: str, text: str) -> list[Remark]:
    positions = Positions(text)
    remarks = []
    for where, first in positions.doubles:
        line, column = positions.at(first)
        also = ((Spot(path, line=line, column=column), "this one is ignored"),)
        message = f"{quoted(where[-1])} stands twice in one object: the last one counts"
        remarks.append(Remark("PL705", message, Spot(path, where, key=True), also=also))
    return remarks
