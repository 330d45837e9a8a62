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

__all__ = [
    "PLAN_VERSION",
    "PROTOCOL",
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
]
