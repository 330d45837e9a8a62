"""The plan of a node and its JSON form. Standard library only: the node reads it with nothing else installed."""

from podlan.plan._json import BadPlan, decode, document, encode, members
from podlan.plan._model import (
    PLAN_VERSION,
    PROTOCOL,
    Address,
    Cni,
    EnvFlags,
    File,
    Link,
    Mode,
    Plan,
    Probe,
    Release,
    Route,
    Runtime,
)
from podlan.plan._places import INSTALLABLE, WRITABLE, may_install, may_write

__all__ = [
    "INSTALLABLE",
    "PLAN_VERSION",
    "PROTOCOL",
    "WRITABLE",
    "Address",
    "BadPlan",
    "Cni",
    "EnvFlags",
    "File",
    "Link",
    "Mode",
    "Plan",
    "Probe",
    "Release",
    "Route",
    "Runtime",
    "decode",
    "document",
    "encode",
    "may_install",
    "may_write",
    "members",
]
