#!/usr/bin/env python3
"""Build the node's side of podlan as one file that a plain Python 3.11 or newer runs: node_archive.py FILE.

In it are the packages that the node needs, as source and as bytecode. The bytecode is for the version of Python that
builds, where it cuts the time to start to a third; any other version falls back to the source. The same packages and
the same Python give the same bytes.
"""

import importlib.util
import marshal
import stat
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

SHEBANG = b"#!/usr/bin/python3 -IS\n"  # root's program: no PYTHONPATH, nothing of the user's, nothing that is installed
MAIN = b'"""The node\'s side of podlan."""\n\nfrom podlan.node.command import program\n\nprogram()\n'

PODLAN = Path("compiler/podlan")
OWN = ["__init__.py", "lazy.py", "records.py", "diagnostics", "plan", "node"]
BUNDLED = ["click", "pyroute2"]

UNCHECKED = (1).to_bytes(4, "little")  # the pyc carries its source's hash, and nobody compares the two at run time
# From version 3 of the format on the bytes depend on what else the interpreter holds; Python 3.14 needs version 5.
MARSHAL = 2 if sys.version_info < (3, 14) else marshal.version


def bytecode(name: str, source: bytes) -> bytes:
    """Compile a module; its code is named by its place in the archive, not on this machine."""
    code = compile(source, name, "exec", dont_inherit=True, optimize=0)
    return importlib.util.MAGIC_NUMBER + UNCHECKED + importlib.util.source_hash(source) + marshal.dumps(code, MARSHAL)


def own() -> Iterator[tuple[str, Path]]:
    """List what the node needs of podlan."""
    for part in OWN:
        path = PODLAN / part
        for file in path.rglob("*.py") if path.is_dir() else [path]:
            yield f"podlan/{file.relative_to(PODLAN)}", file
    yield "podlan/LICENSE", Path("LICENSE")


def bundled(package: str) -> Iterator[tuple[str, Path]]:
    """List a package that the node needs, with its name, version and licence."""
    found = distribution(package)
    for file in found.files or []:
        if (file.parts[0] == package and file.suffix == ".py") or (
            file.parts[0].endswith(".dist-info") and (file.name == "METADATA" or "LICENSE" in file.name.upper())
        ):
            yield str(file), Path(str(found.locate_file(file)))


def entries() -> Iterator[tuple[str, bytes]]:
    """Give every file of the archive."""
    yield "__main__.py", MAIN
    for name, path in [*own(), *(entry for package in BUNDLED for entry in bundled(package))]:
        source = path.read_bytes()
        yield name, source
        if name.endswith(".py"):
            yield f"{name}c", bytecode(name, source)


def build(target: Path) -> None:
    """Write the archive whole, or leave what was there."""
    partial = target.with_suffix(".partial")
    target.parent.mkdir(parents=True, exist_ok=True)
    with partial.open("wb") as file:
        file.write(SHEBANG)
        # Stored, not compressed: it starts 40 ms sooner, and compressed bytes would differ between versions of zlib.
        with zipfile.ZipFile(file, "w") as archive:
            for name, content in sorted(entries()):
                info = zipfile.ZipInfo(name)  # dated 1980, whatever the clock says
                info.create_system = 3
                info.external_attr = (stat.S_IFREG | 0o644) << 16
                archive.writestr(info, content)
    partial.chmod(0o755)
    partial.replace(target)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
