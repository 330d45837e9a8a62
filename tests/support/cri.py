"""What a kubelet asks of a container runtime, over the runtime's own socket."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Other tests of this process fork; gRPC's own preparations for that are for children that go on using it.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import grpc  # reads it

PATIENCE = 30
"""Seconds for one call; the slowest takes a quarter of a second."""

_proto, _services = grpc.protos_and_services("cri.proto")


class Refused(Exception):
    """The runtime could not do it; the text is its own."""


@dataclass(frozen=True)
class Network:
    """What a runtime says of its pods' network: ready or why not, and the configuration it has read."""

    ready: bool
    message: str
    name: str
    config: Any


@dataclass(frozen=True)
class Pod:
    """A running pod of one container."""

    sandbox: str
    container: str
    addresses: tuple[str, ...]


@dataclass
class Cri:
    """A runtime that listens on `socket`; its pods run `image`, in cgroups below `cgroup`."""

    socket: Path
    image: str
    cgroup: str
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.channel = grpc.insecure_channel(f"unix:{self.socket}")
        self._service = _services.RuntimeServiceStub(self.channel)

    def close(self) -> None:
        self.channel.close()

    def network(self) -> Network:
        answer = self._call("Status", _proto.StatusRequest(verbose=True))
        ready = next(one for one in answer.status.conditions if one.type == "NetworkReady")
        networks = json.loads(answer.info["cniconfig"])["Networks"] if ready.status else []
        config = next((one["Config"] for one in networks if one["IFName"] == "eth0"), {"Name": "", "Source": "null"})
        return Network(ready.status, ready.message, config["Name"], json.loads(config["Source"]))

    def run(self) -> Pod:
        """Start a pod and what runs in it; raises Refused."""
        name = f"pod-{next(self._numbers)}"
        pod = _proto.PodSandboxConfig(
            metadata=_proto.PodSandboxMetadata(name=name, uid=name, namespace="default"),
            linux=_proto.LinuxPodSandboxConfig(cgroup_parent=self.cgroup),
        )
        sandbox = self._call("RunPodSandbox", _proto.RunPodSandboxRequest(config=pod)).pod_sandbox_id
        container = _proto.ContainerConfig(
            metadata=_proto.ContainerMetadata(name="main"), image=_proto.ImageSpec(image=self.image)
        )
        order = _proto.CreateContainerRequest(pod_sandbox_id=sandbox, config=container, sandbox_config=pod)
        made = self._call("CreateContainer", order).container_id
        self._call("StartContainer", _proto.StartContainerRequest(container_id=made))
        network = self._call("PodSandboxStatus", _proto.PodSandboxRequest(pod_sandbox_id=sandbox)).status.network
        return Pod(sandbox, made, (network.ip, *(one.ip for one in network.additional_ips)))

    def exec(self, pod: Pod, *argv: str) -> subprocess.CompletedProcess[str]:
        order = _proto.ExecSyncRequest(container_id=pod.container, cmd=argv, timeout=PATIENCE)
        done = self._call("ExecSync", order)
        return subprocess.CompletedProcess(argv, done.exit_code, done.stdout.decode(), done.stderr.decode())

    def reaches(self, pod: Pod, address: str) -> bool:
        return not self.exec(pod, "ping", "-q", "-c", "1", "-W", "2", address).returncode

    def remove(self, pod: Pod) -> None:
        for verb in ("StopPodSandbox", "RemovePodSandbox"):
            self._call(verb, _proto.PodSandboxRequest(pod_sandbox_id=pod.sandbox))

    def sandboxes(self) -> set[str]:
        return {one.id for one in self._call("ListPodSandbox", _proto.Nothing()).items}

    def _call(self, verb: str, order: Any) -> Any:
        try:
            return getattr(self._service, verb)(order, timeout=PATIENCE)
        except grpc.RpcError as error:
            raise Refused(error.details()) from None
