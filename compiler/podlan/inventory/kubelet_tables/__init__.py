"""What kubelets of each version know: their flags, and the fields of KubeletConfiguration."""

from podlan.inventory.kubelet_tables._tables import (
    CNI_FLAGS_REMOVED,
    CONFIG_DIR_SINCE,
    DUAL_STACK_SINCE,
    Fields,
    Flags,
    Removal,
    fields,
    flags,
)

__all__ = [
    "CNI_FLAGS_REMOVED",
    "CONFIG_DIR_SINCE",
    "DUAL_STACK_SINCE",
    "Fields",
    "Flags",
    "Removal",
    "fields",
    "flags",
]
