"""What changes in a node's files: for pods to come, for units that read them at their start, or for nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podlan.review.model import Change, Kind, Risk, differing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.plan import Release, Runtime
    from podlan.review.forms import FileForm, Form

_NEXT_PODS = "pods that run keep what they have; new ones get this"
_RUNTIME_UNITS = frozenset({"containerd.service", "crio.service", "docker.service"})


def file_changes(old: Form, new: Form) -> Iterator[Change]:
    """Compare the files of one node."""
    texts: list[str] = []
    for path in (*old.files, *(path for path in new.files if path not in old.files)):
        was, now = old.files.get(path), new.files.get(path)
        if was is None or now is None or was.digest != now.digest:
            change = _file(path, was, now, slices_differ=old.slices != new.slices)
            if change is None:
                continue
            if change.kind is Kind.TEXT:
                texts.append(path)
            else:
                yield change
        elif was.restart != now.restart:
            texts.append(path)
    if texts:
        yield Change(Kind.TEXT, Risk.NONE, f"only text: {', '.join(texts)}")


def program_changes(old: Form, new: Form) -> Iterator[Change]:
    """Compare where a node's plugins come from, and what its runtime is expected to be."""
    was, now = old.plan.release, new.plan.release
    if was != now:
        what = f"plugins come from {_release(now)} (was {_release(was)})"
        yield Change(Kind.FUTURE_PODS, Risk.LOW, what, "the plugins that podlan installed are replaced; pods run on")
    before, after = old.plan.runtime, new.plan.runtime
    if before != after:
        what = f"the runtime is expected to be {_runtime(after)} (was {_runtime(before)})"
        yield Change(Kind.TEXT, Risk.NONE, what, "preflight compares it with the node's own configuration")


def _release(release: Release | None) -> str:
    if release is None:
        return "nowhere"
    names = ", ".join(release.names)
    return f"{release.url} {release.version} (SHA-256 {release.sha256[:12]}) for {names} in {release.directory}"


def _runtime(runtime: Runtime | None) -> str:
    if runtime is None:
        return "any"
    version = f" {runtime.version}" if runtime.version else ""
    return f"{runtime.name}{version} with {runtime.conf_dir} and {runtime.bin_dir}"


def delivered_changes(old: Form, new: Form) -> Iterator[Change]:
    """Name what is delivered beside the plan's files; it follows from them, so it is told where nothing else is."""
    texts = {**old.texts, **new.texts}
    paths = [path for path in sorted(texts) if old.texts.get(path) != new.texts.get(path)]
    if paths:
        yield Change(Kind.TEXT, Risk.NONE, f"only text: {', '.join(paths)}")


def _file(path: str, was: FileForm | None, now: FileForm | None, *, slices_differ: bool) -> Change | None:
    form = now or was
    if form is None:
        return None
    if was is None or now is None:
        what = f"{path} is {'removed' if now is None else 'added'}"
    else:
        facts = differing(dict(was.facts), dict(now.facts))
        says_else = form.kind == "cni" and was.meaning != now.meaning
        what = f"{path}: {facts or ('the order of its entries' if says_else else 'comments or layout only')}"
        if form.kind == "cni" and not says_else:
            # Where ranges begin and end is told as slices; the same addresses in other pieces are still read anew.
            return None if slices_differ else Change(Kind.TEXT, Risk.NONE, what)
    if form.kind == "cni":
        return Change(Kind.FUTURE_PODS, Risk.LOW, what, _NEXT_PODS)
    if form.restart:
        return Change(Kind.RESTART, Risk.LOW, what, _restart(form, removed=now is None), units=form.restart)
    return Change(Kind.TEXT, Risk.NONE, what)


def _restart(form: FileForm, *, removed: bool) -> str:
    units = ", ".join(form.restart)
    if removed:
        return f"{units} notices at its next start"
    if _RUNTIME_UNITS & set(form.restart):
        return f"{units} restarts; containers run on, new ones wait"
    return f"{units} restarts; pods run on"
