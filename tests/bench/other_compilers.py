"""A like job for compilers that people use for such work: for every node so many files of its addresses and range."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

BIN = Path(__file__).parents[2] / ".venv/peers/bin"

KAPITAN, AERLEON = "kapitan", "aerleon"
_FIRST = 10 << 24

_COMMON = """\
parameters:
  kapitan:
    vars: {target: "${_reclass_:name:short}"}
    compile:
      - {output_path: ., input_type: jinja2, input_paths: [templates]}
"""
_TEMPLATE = """\
{
  "cniVersion": "1.0.0",
  "name": "pods",
  "node": "{{ inventory.parameters.kapitan.vars.target }}",
  "address": "{{ inventory.parameters.address }}",
  "ranges": [[{"rangeStart": "{{ inventory.parameters.first }}", "rangeEnd": "{{ inventory.parameters.last }}"}]]
}
"""
_TARGETS = {
    "nftables": "inet input",
    "iptables": "INPUT DROP",
    "cisco": "node extended",
    "arista": "node extended",
    "brocade": "node extended",
    "juniper": "node inet",
    "ciscoxr": "node extended",
    "cisconx": "node extended",
    "ciscoasa": "node",
    "ipset": "INPUT DROP",
    "packetfilter": "node",
    "aruba": "node",
    "arista_tp": "node",
    "windows_advfirewall": "in inet",
}
"""What aerleon writes one file a policy for, with the options that it wants."""


def write(name: str, directory: Path, nodes: int, files: int) -> None:
    """Write the inputs of one of them, for so many files a node."""
    if name == KAPITAN:
        _kapitan(directory, nodes, files)
        return
    assert files <= len(_TARGETS), "aerleon knows no more kinds of files"
    _aerleon(directory, nodes, files)


def command(name: str) -> list[str]:
    """Give the command that reads them, in their directory."""
    if name == KAPITAN:
        return [str(BIN / "kapitan"), "compile", "-p", "2"]
    where = ["--base_directory", "policies", "--definitions_directory", "definitions", "--output_directory", "out"]
    # More than one renderer makes it slower.
    return [str(BIN / "aclgen"), *where, "--max_renderers", "1"]


def _kapitan(directory: Path, nodes: int, files: int) -> None:
    for name in ("inventory/classes", "inventory/targets", "templates"):
        (directory / name).mkdir(parents=True)
    (directory / "inventory/classes/common.yml").write_text(_COMMON, encoding="utf-8")
    for number in range(files):
        (directory / f"templates/file-{number}.json").write_text(_TEMPLATE, encoding="utf-8")
    for node in range(nodes):
        address, first, last = _addresses(node)
        text = f"classes: [common]\nparameters: {{address: {address}, first: {first}, last: {last}}}\n"
        (directory / f"inventory/targets/node-{node}.yml").write_text(text, encoding="utf-8")


def _aerleon(directory: Path, nodes: int, files: int) -> None:
    for name in ("policies/pol", "definitions", "out"):
        (directory / name).mkdir(parents=True)
    targets = "".join(f"      {name}: {options}\n" for name, options in list(_TARGETS.items())[:files])
    networks = []
    for node in range(nodes):
        address, first, _ = _addresses(node)
        networks.append(f"  NODE_{node}: {{values: [{{address: {address}/32}}]}}\n")
        networks.append(f"  RANGE_{node}: {{values: [{{address: {first}/29}}]}}\n")
        terms = f"source-address: RANGE_{node}\n    destination-address: NODE_{node}\n    action: accept\n"
        text = f"filters:\n- header:\n    targets:\n{targets}  terms:\n  - name: pods\n    {terms}"
        (directory / f"policies/pol/node-{node}.yaml").write_text(text, encoding="utf-8")
    (directory / "definitions/networks.yaml").write_text(f"networks:\n{''.join(networks)}", encoding="utf-8")


def _addresses(node: int) -> tuple[IPv4Address, IPv4Address, IPv4Address]:
    first = _FIRST + (1 << 23) + node * 8
    return IPv4Address(_FIRST + node), IPv4Address(first), IPv4Address(first + 7)
