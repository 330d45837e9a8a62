"""The container runtime's own configuration and others' CNI files: read as the runtime reads them, never written."""

import json
import subprocess
import tomllib
from dataclasses import replace

import pytest
from lan import NONE_PLAN, write_directory

from podlan.node.cnifiles import cni_findings
from podlan.node.codes import CODES
from podlan.node.directory import load
from podlan.node.files import Root
from podlan.node.runtime import runtime_findings
from podlan.node.state import FileRecord, State
from podlan.plan import Cni, File, Runtime

CNI = "/etc/cni/net.d/05-podlan.conflist"
LIST = b'{"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "macvlan"}]}\n'
CONFIG = "/etc/containerd/config.toml"
DROP_IN = "/etc/containerd/conf.d/podlan.toml"
CRIO = "/etc/crio/crio.conf"
CRIO_DROP_IN = "/etc/crio/crio.conf.d/50-podlan.conf"
FIRST = "plugins.'io.containerd.grpc.v1.cri'"
SECOND = "plugins.'io.containerd.cri.v1.runtime'"


class Node:
    """A tree of files, and what preflight says of it for a plan."""

    def __init__(self, path):
        self.path = path
        self.root = path / "root"
        self.root.mkdir()

    def write(self, path, content):
        file = self.root / path[1:]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())

    def say(self, runtime, planned=None, last=None):
        """Give the codes and messages, the root's own path taken out, and see that no file is touched."""
        sources = {path: content.encode() for path, content in (planned or {}).items()} | {CNI: LIST}
        plan = replace(
            NONE_PLAN,
            cni=Cni(CNI),
            runtime=runtime,
            files=tuple(File(path, source=f"rootfs{path}") for path in sources),
        )
        directory = load(
            str(write_directory(self.path / "in", plan, {f"rootfs{path}": text for path, text in sources.items()}))
        )
        root, before = Root(str(self.root)), self.tree()
        found = [*cni_findings(directory, last or State(), root), *runtime_findings(directory, last or State(), root)]
        assert self.tree() == before
        return [f"{one.code} {one.message.replace(str(self.root), '')}" for one in found]

    def tree(self):
        return {path: path.read_bytes() for path in self.root.rglob("*") if path.is_file()}


@pytest.fixture
def node(tmp_path):
    return Node(tmp_path)


def containerd(version="1.7", conf="/etc/cni/net.d", binaries="/opt/cni/bin"):
    return Runtime("containerd", conf, binaries, version)


def crio(conf="/etc/cni/net.d", binaries="/opt/cni/bin"):
    return Runtime("cri-o", conf, binaries, "1.30")


FIRST_HINT = 'in [plugins."io.containerd.grpc.v1.cri".cni] there'
SECOND_HINT = 'in [plugins."io.containerd.cri.v1.runtime".cni] there'
SAYS_NOTHING = {
    "no file": (containerd(), {}),
    "no version, no file": (containerd(""), {}),
    "nothing of CNI": (containerd(), {CONFIG: 'version = 2\nroot = "/x"\n'}),
    "Debian's": (
        containerd(binaries="/usr/lib/cni"),
        {CONFIG: f'version = 2\n[{FIRST}.cni]\nbin_dir = "/usr/lib/cni"\nconf_dir = "/etc/cni/net.d/"\n'},
    ),
    "the first form": (
        containerd(binaries="/usr/lib/cni"),
        {CONFIG: '[plugins.cri.cni]\nbin_dir = "/usr/lib/cni"\n'},
    ),
    "several directories": (
        containerd("2.1", binaries="/usr/lib/cni"),
        {CONFIG: f'version = 3\n[{SECOND}.cni]\nbin_dirs = ["/opt/cni/bin", "/usr/lib/cni"]\n'},
    ),
    "an empty value is the default": (containerd(), {CONFIG: f'version = 2\n[{FIRST}.cni]\nconf_dir = ""\n'}),
    "an import that has it right": (
        containerd(binaries="/usr/lib/cni"),
        {
            CONFIG: 'version = 2\nimports = ["etc/containerd/conf.d/*.toml"]\n',
            "/etc/containerd/conf.d/a.toml": f'version = 2\n[{FIRST}.cni]\nbin_dir = "/usr/lib/cni"\n',
        },
    ),
    "what k3s configures itself": (
        containerd(conf="/var/lib/rancher/k3s/agent/etc/cni/net.d"),
        {CONFIG: 'disabled_plugins = ["cri"]\n'},
    ),
    "docker": (Runtime("docker", "/etc/cni/net.d", "/opt/cni/bin"), {CONFIG: 'disabled_plugins = ["cri"]\n'}),
    "no CRI-O files": (crio(), {}),
    "CRI-O's drop-in has it right": (
        crio(conf="/etc/cni/x"),
        {
            CRIO: '[crio.network]\nnetwork_dir = "/etc/cni/net.d/"\n',
            "/etc/crio/crio.conf.d/10-a.conf": '[crio.network]\nnetwork_dir = "/etc/cni/x/"\n',
        },
    ),
}


@pytest.mark.parametrize("case", SAYS_NOTHING)
def test_a_runtime_that_looks_where_the_plan_writes_is_no_news(node, case):
    runtime, files = SAYS_NOTHING[case]
    for path, content in files.items():
        node.write(path, content)
    assert node.say(runtime) == []


SAYS = {
    "Debian's directory by default": (
        containerd(binaries="/usr/lib/cni"),
        {},
        [f'PL636 {CONFIG} says no bin_dir, which means "/opt/cni/bin"; set bin_dir = "/usr/lib/cni" {FIRST_HINT}'],
    ),
    "both directories": (
        containerd(),
        {CONFIG: f'version = 2\n[{FIRST}.cni]\nbin_dir = "/usr/lib/cni"\nconf_dir = "/etc/cni"\n'},
        [
            f'PL636 {CONFIG} says conf_dir = "/etc/cni"; set conf_dir = "/etc/cni/net.d" {FIRST_HINT}',
            f'PL636 {CONFIG} says bin_dir = "/usr/lib/cni"; set bin_dir = "/opt/cni/bin" {FIRST_HINT}',
        ],
    ),
    "containerd 2 by the file's own word": (
        containerd(""),
        {CONFIG: f'version = 3\n[{SECOND}.cni]\nbin_dirs = ["/usr/lib/cni"]\n'},
        [
            (
                f'PL636 {CONFIG} says bin_dirs = ["/usr/lib/cni"]; set bin_dirs = ["/usr/lib/cni", "/opt/cni/bin"] '
                f"{SECOND_HINT}"
            )
        ],
    ),
    "an import takes the place of the section in containerd 1": (
        containerd(binaries="/usr/lib/cni"),
        {
            CONFIG: f'version = 2\nimports = ["/etc/containerd/x.toml"]\n[{FIRST}.cni]\nbin_dir = "/usr/lib/cni"\n',
            "/etc/containerd/x.toml": f"version = 2\n[{FIRST}]\nsandbox_image = 'x'\n",
        },
        [f'PL636 {CONFIG} says no bin_dir, which means "/opt/cni/bin"; set bin_dir = "/usr/lib/cni" {FIRST_HINT}'],
    ),
    "Docker's": (
        containerd(),
        {CONFIG: 'disabled_plugins = ["cri"]\n'},
        [f'PL637 {CONFIG} says disabled_plugins = ["cri"]'],
    ),
    "a template": (
        containerd(),
        {CONFIG: f'version = 2\n[{FIRST}.cni]\nconf_template = "/x.tmpl"\n'},
        [f'PL638 {CONFIG} says conf_template = "/x.tmpl"'],
    ),
    "several networks": (
        containerd("2.0"),
        {CONFIG: f"version = 3\n[{SECOND}.cni]\nmax_conf_num = 0\n"},
        [f'PL642 {CONFIG} says max_conf_num = 0; set it to 1 in [plugins."io.containerd.cri.v1.runtime".cni]'],
    ),
    "a runtime handler of its own": (
        containerd(),
        {CONFIG: f'version = 2\n[{FIRST}.containerd.runtimes.kata]\ncni_conf_dir = "/etc/kata"\n'},
        [f'PL636 {CONFIG} says cni_conf_dir = "/etc/kata" for runtime kata; remove it'],
    ),
    "no TOML": (
        containerd(),
        {CONFIG: "version = \n"},
        [f"PL640 {CONFIG} cannot be read: Invalid value (at line 1, column 11)"],
    ),
    "no text": (
        containerd(),
        {CONFIG: b"\xff"},
        [f"PL640 {CONFIG} cannot be read: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"],
    ),
    "CRI-O elsewhere": (
        crio(),
        {CRIO: '[crio.network]\nnetwork_dir = "/etc/x"\nplugin_dirs = ["/usr/lib/cni"]\n'},
        [
            f'PL636 {CRIO} says network_dir = "/etc/x"; set network_dir = "/etc/cni/net.d" in [crio.network] there',
            (
                f'PL636 {CRIO} says plugin_dirs = ["/usr/lib/cni"]; set plugin_dirs = ["/usr/lib/cni", "/opt/cni/bin"] '
                "in [crio.network] there"
            ),
        ],
    ),
    "CRI-O by default": (
        crio(binaries="/usr/lib/cni"),
        {},
        [
            (
                f'PL636 {CRIO} says no plugin_dirs, which means ["/opt/cni/bin"]; set plugin_dirs = ["/usr/lib/cni"] '
                "in [crio.network] there"
            )
        ],
    ),
    "another network by name": (
        crio(),
        {"/etc/crio/crio.conf.d/99-x.conf": '[crio.network]\ncni_default_network = "other"\n'},
        ['PL641 /etc/crio/crio.conf.d/99-x.conf says cni_default_network = "other", and podlan\'s is pods'],
    ),
}


@pytest.mark.parametrize("case", SAYS)
def test_what_has_to_be_changed_is_told_exactly(node, case):
    runtime, files, said = SAYS[case]
    for path, content in files.items():
        node.write(path, content)
    assert node.say(runtime) == said


IMPORTING = f'version = 2\nimports = [IMPORTS]\n[{FIRST}.cni]\nbin_dir = "/main"\nconf_dir = "/etc/main"\n'
MERGES = {
    "no import": IMPORTING.replace("IMPORTS", ""),
    "a pattern": IMPORTING.replace("IMPORTS", '"/etc/containerd/conf.d/*.toml"'),
    "a pattern from the root": IMPORTING.replace("IMPORTS", '"etc/containerd/conf.d/*.toml"'),
    "a pattern from the file": IMPORTING.replace("IMPORTS", '"conf.d/*.toml"'),
    "a file": IMPORTING.replace("IMPORTS", '"conf.d/a.toml"'),
    "in the other order": IMPORTING.replace("IMPORTS", '"conf.d/b.toml", "conf.d/a.toml"'),
    "without the section": IMPORTING.replace("IMPORTS", '"conf.d/c.toml"'),
}


@pytest.mark.kernel
@pytest.mark.parametrize("case", MERGES)
def test_containerd_itself_merges_its_files_so(node, case):
    """What `containerd config dump` shows is what no finding is about, and all else is."""
    node.write(CONFIG, MERGES[case])
    node.write("/etc/containerd/conf.d/a.toml", f'version = 2\n[{FIRST}.cni]\nbin_dir = "/a"\n')
    node.write("/etc/containerd/conf.d/b.toml", f"version = 2\n[{FIRST}]\nsandbox_image = 'b'\n")
    node.write("/etc/containerd/conf.d/c.toml", "version = 2\nimports = ['b.toml']\n")
    script = f"mount --bind {node.root}/etc /etc && cd / && exec containerd config dump"
    argv = ["unshare", "-m", "--propagation", "private", "sh", "-c", script]
    dump = tomllib.loads(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)
    section = dump["plugins"]["io.containerd.grpc.v1.cri"]["cni"]
    assert node.say(containerd("1.6", section["conf_dir"], section["bin_dir"])) == []
    assert len(node.say(containerd("1.6", "/etc/other", "/other"))) == 2


SET = f'version = 3\n[{SECOND}.cni]\nbin_dirs = ["/usr/lib/cni"]\n'


def test_a_drop_in_counts_only_where_the_main_file_imports_it(node):
    runtime, planned = containerd("2.1", binaries="/usr/lib/cni"), {DROP_IN: SET}
    assert node.say(runtime, planned) == [
        (
            f"PL639 containerd before 2.2 does not read {DROP_IN} where there is no {CONFIG}: write one with the lines "
            'version = 3 and imports = ["/etc/containerd/conf.d/*.toml"]'
        )
    ]
    assert node.say(containerd("2.2", binaries="/usr/lib/cni"), planned) == []
    node.write(CONFIG, "version = 3\n")
    assert node.say(containerd("2.2", binaries="/usr/lib/cni"), planned) == [
        (
            f'PL639 {CONFIG} does not import {DROP_IN}: add imports = ["/etc/containerd/conf.d/*.toml"] before its '
            "first table"
        )
    ]
    node.write(CONFIG, 'version = 3\nimports = ["/etc/x.toml"]\n')
    assert node.say(runtime, planned) == [
        f'PL639 {CONFIG} does not import {DROP_IN}: add "/etc/containerd/conf.d/*.toml" to its imports'
    ]
    node.write(CONFIG, 'version = 3\nimports = ["/etc/x.toml", "/etc/containerd/conf.d/*.toml"]\n')
    assert node.say(runtime, planned) == []


def test_what_is_read_after_the_drop_in_wins(node):
    node.write(CONFIG, 'version = 3\nimports = ["/etc/containerd/conf.d/*.toml"]\n')
    node.write("/etc/containerd/conf.d/zz.toml", f'version = 3\n[{SECOND}.cni]\nbin_dirs = ["/x"]\n')
    said = node.say(containerd("2.1", binaries="/usr/lib/cni"), {DROP_IN: SET})
    assert [line[:47] for line in said] == ["PL636 /etc/containerd/conf.d/zz.toml says bin_d"]
    node.write("/etc/crio/crio.conf.d/60-x.conf", '[crio.network]\nnetwork_dir = "/x"\n')
    said = node.say(crio(conf="/etc/cni/y"), {CRIO_DROP_IN: '[crio.network]\nnetwork_dir = "/etc/cni/y"\n'})
    assert [line[:48] for line in said] == ["PL636 /etc/crio/crio.conf.d/60-x.conf says netwo"]


def test_the_plans_own_drop_in_is_taken_as_it_will_be(node):
    node.write(CRIO_DROP_IN, '[crio.network]\nnetwork_dir = "/old"\n')
    assert node.say(crio(), {CRIO_DROP_IN: '[crio.network]\nnetwork_dir = "/etc/cni/net.d"\n'}) == []
    assert node.say(crio(), last=State(files=(FileRecord(CRIO_DROP_IN, "x"),))) == [], "this run removes it"
    assert len(node.say(crio())) == 1


OTHER = json.dumps({"name": "bridge", "type": "bridge"})
BROKEN = {
    "no JSON": ("00-x.conf", "{", "is not JSON"),
    "no object": ("00-x.conf", "[]", "is not a JSON object"),
    "a list in a .conf": ("00-x.conf", LIST, "is a list, which belongs into a .conflist"),
    "a .conf in a list": ("00-x.conflist", OTHER, "lists no plugins"),
    "an empty list": ("00-x.conflist", '{"plugins": []}', "lists no plugins"),
    "no type": ("00-x.json", '{"name": "x"}', "names no type of plugin"),
    "a plugin without a type": ("00-x.conflist", '{"plugins": [{"type": "a"}, {}]}', "names no type of plugin"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_that_comes_first_stops_containerd_and_nobody_else(node, case):
    name, content, why = BROKEN[case]
    path = f"/etc/cni/net.d/{name}"
    node.write(path, content)
    assert node.say(containerd()) == [f"PL645 {path} {why}, and comes before 05-podlan.conflist"]
    assert node.say(crio()) == []
    assert node.say(None) == [f"PL612 {path} comes before 05-podlan.conflist"]
    node.write("/etc/cni/net.d/01-y.conf", OTHER)
    assert node.say(crio()) == ["PL612 /etc/cni/net.d/01-y.conf comes before 05-podlan.conflist"]


def test_what_comes_later_or_is_not_loaded_is_no_news(node):
    for name in ("10-x.conf", "00-x.conf.bak", "00-x.podlan-tmp", ".00.conf~"):
        node.write(f"/etc/cni/net.d/{name}", OTHER)
    assert node.say(containerd()) == []


def test_multus_comes_first_by_design(node):
    node.write("/etc/cni/net.d/00-multus.conf", '{"name": "multus", "type": "multus"}')
    node.write("/etc/cni/multus/net.d/macvlan.conf", "{")
    assert node.say(containerd()) == []


def test_a_file_that_this_run_removes_is_no_news(node):
    node.write("/etc/cni/net.d/00-podlan.conf", OTHER)
    last = State(files=(FileRecord("/etc/cni/net.d/00-podlan.conf", "digest"),))
    assert node.say(containerd(), last=last) == []


def test_a_directory_of_the_networks_name_is_told(node):
    node.write("/etc/cni/net.d/pods/tuning.conf", "{}")
    assert node.say(containerd()) == ["PL643 /etc/cni/net.d/pods holds tuning.conf"]
    node.write("/etc/cni/net.d/other/tuning.conf", "{}")
    (node.root / "etc/cni/net.d/pods/tuning.conf").rename(node.root / "etc/cni/net.d/pods/tuning.conf.off")
    assert node.say(containerd()) == []


def test_another_file_with_the_networks_name_is_told_for_cri_o(node):
    node.write("/etc/cni/net.d/10-old.conflist", LIST)
    assert node.say(crio()) == ["PL644 /etc/cni/net.d/10-old.conflist has the name pods too"]
    assert node.say(containerd()) == []


def test_cri_o_that_goes_by_the_name_takes_no_other_first(node):
    node.write("/etc/cni/net.d/00-x.conf", OTHER)
    assert node.say(crio()) == ["PL612 /etc/cni/net.d/00-x.conf comes before 05-podlan.conflist"]
    node.write(CRIO, '[crio.network]\ncni_default_network = "pods"\n')
    assert node.say(crio()) == []


@pytest.mark.kernel
def test_a_competing_writer_stops_the_run_and_the_rest_does_not(net):
    plan = replace(NONE_PLAN, runtime=containerd(), cni=Cni(CNI), files=(File(CNI, source="rootfs/cni"),))
    directory = net.directory(plan, {"rootfs/cni": LIST})
    config = net.root / CONFIG[1:]
    config.parent.mkdir(parents=True)
    config.write_text(f'version = 2\n[{FIRST}.cni]\nconf_template = "/x"\n', encoding="utf-8")
    assert "conf_template" in net.reconcile(directory, code=1).stderr
    assert not (net.root / CNI[1:]).exists()
    config.write_text("version = \ndisabled", encoding="utf-8")
    assert "warning[PL640]" in net.reconcile(directory).stderr
    assert (net.root / CNI[1:]).exists()


def test_missing_plugins_are_named_and_where_there_are_such(node, tmp_path):
    plan = replace(NONE_PLAN, cni=Cni(CNI, ("/opt/cni/bin/macvlan", "/opt/cni/bin/host-local")))
    directory = load(str(write_directory(tmp_path / "plan", plan)))
    root = Root(str(node.root))

    def said():
        return [found.message.replace(str(node.root), "") for found in cni_findings(directory, State(), root)]

    both = "plugin binaries are missing: /opt/cni/bin/macvlan, /opt/cni/bin/host-local"
    assert said() == [both]
    node.write("/usr/lib/cni/macvlan", "x")
    assert said() == [both]
    node.write("/usr/lib/cni/host-local", "x")
    assert said() == [f"{both} (there are such in /usr/lib/cni)"]
    for word in ("containernetworking-plugins", "/usr/libexec/cni", "kubernetes-cni", "sha256"):
        assert word in CODES["PL611"].hint
