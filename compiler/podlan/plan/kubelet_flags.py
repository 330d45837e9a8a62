"""The kubelet's flags that are going or gone, which the compiler refuses and the node warns of before an upgrade."""

from __future__ import annotations

from typing import NamedTuple


class Gone(NamedTuple):
    """A flag that is gone: kubelets from `version` on end at once where it stands."""

    version: str
    instead: str
    source: str


_LOGS = "the kubelet logs to standard error, and systemd keeps it"
_CNI = "the container runtime reads the CNI files itself, where its own configuration says"
_DOCKERSHIM = "kubernetes/kubernetes#106907"
_OPTIONS = "kubernetes/kubernetes@6785e9ed, cmd/kubelet/app/options/options.go"

GONE = {
    "add-dir-header": Gone("1.26", _LOGS, "kubernetes/kubernetes#112120"),
    "alsologtostderr": Gone("1.26", _LOGS, "kubernetes/kubernetes#112120"),
    "bootstrap-checkpoint-path": Gone("1.19", "leave it out", "kubernetes/kubernetes#91577"),
    "chaos-chance": Gone("1.22", "leave it out", "kubernetes/kubernetes#101057"),
    "cni-bin-dir": Gone("1.24", _CNI, _DOCKERSHIM),
    "cni-cache-dir": Gone("1.24", _CNI, _DOCKERSHIM),
    "cni-conf-dir": Gone("1.24", _CNI, _DOCKERSHIM),
    "container-runtime": Gone("1.27", "leave it out: every runtime is a remote one", "kubernetes/kubernetes#114017"),
    "docker-endpoint": Gone("1.24", "dockershim went with it; cri-dockerd has the flag", _DOCKERSHIM),
    "dynamic-config-dir": Gone(
        "1.24", "use cluster.kubelet.config", "Kubernetes documentation, feature gates (removed), DynamicKubeletConfig"
    ),
    "enable-cadvisor-json-endpoints": Gone("1.30", "leave it out", _OPTIONS),
    "experimental-bootstrap-kubeconfig": Gone("1.30", "use bootstrap-kubeconfig", _OPTIONS),
    "experimental-check-node-capabilities-before-mount": Gone("1.24", "leave it out", "kubernetes/kubernetes#104732"),
    "experimental-dockershim-root-directory": Gone("1.24", "dockershim went with it", _DOCKERSHIM),
    "experimental-kernel-memcg-notification": Gone(
        "1.25", "use kernel-memcg-notification", "kubernetes/kubernetes#109388"
    ),
    "image-pull-progress-deadline": Gone("1.24", "dockershim went with it; cri-dockerd has the flag", _DOCKERSHIM),
    "iptables-drop-bit": Gone("1.31", "leave it out: it had no effect since 1.28", "kubernetes/kubernetes#122363"),
    "iptables-masquerade-bit": Gone(
        "1.31", "leave it out: it had no effect since 1.28", "kubernetes/kubernetes#122363"
    ),
    "keep-terminated-pod-volumes": Gone("1.31", "leave it out", "Kubernetes 1.31 release notes"),
    "log-backtrace-at": Gone("1.26", _LOGS, "kubernetes/kubernetes#112120"),
    "log-dir": Gone("1.26", _LOGS, "kubernetes/kubernetes#112120"),
    "log-file": Gone("1.26", _LOGS, "kubernetes/kubernetes#112120"),
    "log-file-max-size": Gone("1.26", _LOGS, "kubernetes/kubernetes#112120"),
    "logtostderr": Gone("1.26", _LOGS, "kubernetes/kubernetes#112120"),
    "master-service-namespace": Gone("1.27", "leave it out", "kubernetes/kubernetes#116015"),
    "network-plugin": Gone("1.24", _CNI, _DOCKERSHIM),
    "network-plugin-mtu": Gone("1.24", _CNI, _DOCKERSHIM),
    "non-masquerade-cidr": Gone(
        "1.24", "leave it out: it spoke to dockershim's kubenet alone", "kubernetes/kubernetes#107096"
    ),
    "one-output": Gone("1.26", _LOGS, "kubernetes/kubernetes#112120"),
    "pod-infra-container-image": Gone(
        "1.35", "name the image in the container runtime's configuration", "kubernetes/kubernetes#133779"
    ),
    "really-crash-for-testing": Gone("1.30", "leave it out", _OPTIONS),
    "redirect-container-streaming": Gone("1.30", "leave it out", _OPTIONS),
    "seccomp-profile-root": Gone("1.30", "use seccompDefault", _OPTIONS),
    "skip-headers": Gone("1.26", _LOGS, "kubernetes/kubernetes#112120"),
    "skip-log-headers": Gone("1.26", _LOGS, "kubernetes/kubernetes#112120"),
    "stderrthreshold": Gone("1.26", _LOGS, "kubernetes/kubernetes#112120"),
}
"""By name, without the dashes. Sources: Kubernetes release notes and pull requests."""

CONFIG_FLAGS = {
    "address": "address",
    "allowedUnsafeSysctls": "allowed-unsafe-sysctls",
    "cgroupDriver": "cgroup-driver",
    "cgroupRoot": "cgroup-root",
    "cgroupsPerQOS": "cgroups-per-qos",
    "clusterDomain": "cluster-domain",
    "containerLogMaxFiles": "container-log-max-files",
    "containerLogMaxSize": "container-log-max-size",
    "containerRuntimeEndpoint": "container-runtime-endpoint",
    "contentType": "kube-api-content-type",
    "cpuCFSQuota": "cpu-cfs-quota",
    "cpuCFSQuotaPeriod": "cpu-cfs-quota-period",
    "cpuManagerPolicy": "cpu-manager-policy",
    "cpuManagerPolicyOptions": "cpu-manager-policy-options",
    "cpuManagerReconcilePeriod": "cpu-manager-reconcile-period",
    "enableContentionProfiling": "contention-profiling",
    "enableControllerAttachDetach": "enable-controller-attach-detach",
    "enableDebuggingHandlers": "enable-debugging-handlers",
    "enableServer": "enable-server",
    "enforceNodeAllocatable": "enforce-node-allocatable",
    "eventBurst": "event-burst",
    "eventRecordQPS": "event-qps",
    "evictionHard": "eviction-hard",
    "evictionMaxPodGracePeriod": "eviction-max-pod-grace-period",
    "evictionMinimumReclaim": "eviction-minimum-reclaim",
    "evictionPressureTransitionPeriod": "eviction-pressure-transition-period",
    "evictionSoft": "eviction-soft",
    "evictionSoftGracePeriod": "eviction-soft-grace-period",
    "failSwapOn": "fail-swap-on",
    "featureGates": "feature-gates",
    "fileCheckFrequency": "file-check-frequency",
    "hairpinMode": "hairpin-mode",
    "healthzBindAddress": "healthz-bind-address",
    "healthzPort": "healthz-port",
    "httpCheckFrequency": "http-check-frequency",
    "imageGCHighThresholdPercent": "image-gc-high-threshold",
    "imageGCLowThresholdPercent": "image-gc-low-threshold",
    "imageMinimumGCAge": "minimum-image-ttl-duration",
    "imageServiceEndpoint": "image-service-endpoint",
    "kernelMemcgNotification": "kernel-memcg-notification",
    "kubeAPIBurst": "kube-api-burst",
    "kubeAPIQPS": "kube-api-qps",
    "kubeReserved": "kube-reserved",
    "kubeReservedCgroup": "kube-reserved-cgroup",
    "kubeletCgroups": "kubelet-cgroups",
    "localStorageCapacityIsolation": "local-storage-capacity-isolation",
    "makeIPTablesUtilChains": "make-iptables-util-chains",
    "maxOpenFiles": "max-open-files",
    "memoryManagerPolicy": "memory-manager-policy",
    "nodeStatusMaxImages": "node-status-max-images",
    "nodeStatusUpdateFrequency": "node-status-update-frequency",
    "oomScoreAdj": "oom-score-adj",
    "podCIDR": "pod-cidr",
    "podPidsLimit": "pod-max-pids",
    "podsPerCore": "pods-per-core",
    "port": "port",
    "protectKernelDefaults": "protect-kernel-defaults",
    "providerID": "provider-id",
    "qosReserved": "qos-reserved",
    "readOnlyPort": "read-only-port",
    "registerNode": "register-node",
    "registryBurst": "registry-burst",
    "registryPullQPS": "registry-qps",
    "reservedMemory": "reserved-memory",
    "reservedSystemCPUs": "reserved-cpus",
    "rotateCertificates": "rotate-certificates",
    "runtimeRequestTimeout": "runtime-request-timeout",
    "seccompDefault": "seccomp-default",
    "serializeImagePulls": "serialize-image-pulls",
    "serverTLSBootstrap": "rotate-server-certificates",
    "staticPodPath": "pod-manifest-path",
    "staticPodURL": "manifest-url",
    "streamingConnectionIdleTimeout": "streaming-connection-idle-timeout",
    "syncFrequency": "sync-frequency",
    "systemCgroups": "system-cgroups",
    "systemReserved": "system-reserved",
    "systemReservedCgroup": "system-reserved-cgroup",
    "tlsCertFile": "tls-cert-file",
    "tlsCipherSuites": "tls-cipher-suites",
    "tlsMinVersion": "tls-min-version",
    "tlsPrivateKeyFile": "tls-private-key-file",
    "topologyManagerPolicy": "topology-manager-policy",
    "topologyManagerPolicyOptions": "topology-manager-policy-options",
    "topologyManagerScope": "topology-manager-scope",
    "volumePluginDir": "volume-plugin-dir",
    "volumeStatsAggPeriod": "volume-stats-agg-period",
}
"""Fields of KubeletConfiguration, and the flags that mean the same: all of those are deprecated (same options.go)."""
