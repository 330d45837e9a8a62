"""The plan of a node and its JSON form. Standard library only: the node reads it with nothing else installed."""

from podlan.plan._json import BadPlan, decode, encode
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
    Route,
)
from podlan.plan._places import WRITABLE, may_write

__all__ = [
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
    "Route",
    "decode",
    "encode",
    "may_write",
]
