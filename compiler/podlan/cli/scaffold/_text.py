"""The text of a new site, whatever the answers are: every value is one that YAML reads back as it was typed."""

from __future__ import annotations

import re
from functools import cache
from ipaddress import IPv4Network, ip_network
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

if TYPE_CHECKING:
    from jinja2 import Template

    from podlan.cli.scaffold._answers import Answers
    from podlan.inventory import Network

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_-]*|[0-9]{1,3}(\.[0-9]{1,3}){3}(/[0-9]{1,2})?")
_WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
"""What YAML 1.1 or 1.2, and so some editor, reads as something else than text."""
_NUMBER = re.compile(r"0|-?[1-9][0-9]*")
_SMALLEST = 4
"""Addresses of a /30 or /126, the smallest subnet that host-local takes."""


def site_text(answers: Answers) -> str:
    """Write the site. A subnet that is none leaves the routes out, and so does a gateway that is not known yet."""
    return _template().render(
        answers=answers,
        version=lambda text: _Raw(_quoted(text)),
        number=lambda text: _Raw(text) if _NUMBER.fullmatch(text) else text,
        nodes=[node_of(node) for node in answers.nodes],
        default="::/0" if ":" in answers.subnet else "0.0.0.0/0",
        example=example_address(answers),
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("podlan.cli", "scaffold"),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - YAML, and `finalize` writes every value so that it is read back as it is
        finalize=_scalar,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("site.yaml")


def node_of(text: str) -> tuple[str, str]:
    """Take NAME=ADDRESS apart."""
    name, _, address = text.partition("=")
    return name.strip(), address.strip()


def example_address(answers: Answers) -> str:
    """Give an address that a node could have: the last of the subnet that is not the gateway's; "" where none can."""
    network = _network(answers)
    if network is None:
        return ""
    last = network.num_addresses - (2 if isinstance(network, IPv4Network) else 1)
    return next(str(network[index]) for index in (last, last - 1) if str(network[index]) != answers.gateway)


def free_gateway(answers: Answers) -> str:
    """Give the first address that is no node's, to stand for a gateway that is not known yet; "" where none can."""
    network = _network(answers)
    if network is None:
        return ""
    taken = {node_of(node)[1] for node in answers.nodes}
    indexes = range(1, min(network.num_addresses, len(taken) + 3))
    return next((str(network[index]) for index in indexes if str(network[index]) not in taken), "")


def _network(answers: Answers) -> Network | None:
    """Read the subnet; None where it is no network, or too small for pods."""
    try:
        network = ip_network(answers.subnet)
    except ValueError:
        return None
    return network if network.num_addresses >= _SMALLEST else None


class _Raw(str):
    """Text that stands in the file as it is."""

    __slots__ = ()


def _scalar(value: object) -> object:
    """Write a text plain where every YAML parser reads text, and in quotes everywhere else."""
    if isinstance(value, tuple):
        return f"[{', '.join(str(_scalar(item)) for item in value)}]"
    if not isinstance(value, str) or isinstance(value, _Raw):
        return value
    return value if _PLAIN.fullmatch(value) and value.lower() not in _WORDS else _quoted(value)


def _quoted(text: str) -> str:
    """Escape all that YAML could read as something else; JSON would write two escapes for an emoji, YAML has one."""
    plain = (char if " " <= char <= "~" and char not in '"\\' else f"\\U{ord(char):08x}" for char in text)
    return f'"{"".join(plain)}"'
