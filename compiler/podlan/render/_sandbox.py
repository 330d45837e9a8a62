"""Where templates of a site are run: jinja2 without the file system, without chance, and with an end.

What a template prints is the same in every run, so there is nothing random, no clock and no environment; lists that
jinja2 makes lazily are made at once, since the text of a generator tells an address in memory.
"""

from __future__ import annotations

import difflib
import json
import resource
import shlex
import signal
from contextlib import contextmanager, suppress
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar

from jinja2 import FunctionLoader, StrictUndefined, TemplateRuntimeError, nodes
from jinja2.filters import FILTERS
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing
from jinja2.visitor import NodeTransformer

from podlan.render._artifact import Plain
from podlan.render._variables import VARIABLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import FrameType

    from podlan.source import Templates

OUTPUT_LIMIT = 1024 * 1024
"""Largest file that a template makes, in bytes."""
_STEPS = 1_000_000
"""Most rounds of all loops of one rendering."""
_SECONDS = 5.0
_SECONDS_EACH = 0.01
"""Most CPU time of all renderings of a site, and what each adds: jinja2 needs less than a thousandth of a second."""
_AGAIN = 0.05
_MEMORY = 512 * 1024 * 1024
"""Most address space, in bytes, that one rendering adds."""
_BITS = 256
"""Largest number that is multiplied or divided: with huge ones Python cannot be interrupted."""

_EAGER = ("batch", "map", "reject", "rejectattr", "reverse", "select", "selectattr", "slice", "unique", "items")
_FILTERS = (
    *("abs", "capitalize", "count", "d", "default", "dictsort", "first", "float", "groupby", "indent", "int", "last"),
    *("length", "list", "lower", "max", "min", "replace", "sort", "sum", "title", "trim", "upper"),
)
_FORMATTING = frozenset({"format", "format_map"})


class Runaway(Exception):
    """A template that does not end, or makes too much of something."""


class _Rewriting(NodeTransformer):
    """Counts the rounds of every loop, and lets `~` print values as the template itself would."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - jinja2 finds it by this name
        self.generic_visit(node)
        node.iter = nodes.Filter(node.iter, COUNTED, [], [], None, None, lineno=node.lineno)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802 - as above
        self.generic_visit(node)
        parts = nodes.List(node.nodes, lineno=node.lineno)
        return nodes.Filter(parts, "join", [], [], None, None, lineno=node.lineno)


COUNTED = "podlan counted"
"""A filter's name that no template can write."""


class Sandbox(ImmutableSandboxedEnvironment):
    """Runs the templates of one site, which know each other and nothing else."""

    intercepted_binops: ClassVar[frozenset[str]] = frozenset({"*", "**", "/", "//", "%"})  # type: ignore[misc]

    def __init__(self, templates: Templates, renderings: int) -> None:
        super().__init__(
            loader=FunctionLoader(lambda name: _loaded(templates, name)),
            undefined=_Unknown,
            finalize=_printed,
            autoescape=False,
            keep_trailing_newline=True,
            trim_blocks=True,
            lstrip_blocks=True,
            cache_size=-1,
        )
        self._left = _STEPS
        self._seconds = _SECONDS + _SECONDS_EACH * renderings
        own: dict[str, Callable[..., Any]] = {"plain": _plain, "json": _json, "string": _scalar, "join": _join}
        eager = {name: _at_once(FILTERS[name]) for name in _EAGER}
        self.filters = {name: FILTERS[name] for name in _FILTERS} | eager | own | {COUNTED: self._counted}
        self.globals = {name: self.globals[name] for name in ("dict", "namespace", "range")}

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree: nodes.Template = _Rewriting().visit(super()._parse(source, name, filename))
        return tree

    def _counted(self, values: Iterable[Any]) -> Iterator[Any]:
        for value in values:
            self._left -= 1
            if self._left < 0:
                raise Runaway(f"its loops take more than {_STEPS} rounds")
            yield value

    def getattr(self, obj: Any, attribute: str) -> Any:  # noqa: ANN401 - as jinja2 says it
        """Let the keys of a mapping win over its methods: `values.items` is what the inventory says."""
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def wrap_str_format(self, value: Any) -> None:  # noqa: ANN401 - as jinja2 says it
        """Refuse str.format: it prints what no template may."""
        if isinstance(getattr(value, "__self__", None), str) and value.__name__ in _FORMATTING:
            raise TemplateRuntimeError("texts have no format here; write text ~ text to join them")

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:  # noqa: ANN401 - as jinja2 says it
        """Refuse arithmetic that could last for ever, and `%` on text."""
        if not all(isinstance(side, int | float) for side in (left, right)) and operator != "*":
            raise TemplateRuntimeError(f"{operator} is for numbers; write text ~ text to join texts")
        numbers = [side for side in (left, right) if isinstance(side, int)]
        if any(number.bit_length() > _BITS for number in numbers) or (
            operator == "**" and len(numbers) > 1 and right * max(1, left.bit_length()) > _BITS
        ):
            raise Runaway(f"it calculates with numbers of more than {_BITS} bits")
        return super().call_binop(context, operator, left, right)

    @property
    def is_over(self) -> bool:
        """Tell whether the site's templates have used up their time."""
        return self._seconds <= 0

    def run(self, name: str, variables: Mapping[str, object]) -> bytes:
        """Render one template. Raises Runaway, TemplateError and whatever else its expressions raise."""
        self._left = _STEPS
        with self._bounded():
            parts, size = [], 0
            try:
                for part in self.get_template(name).generate(variables):
                    size += len(part)
                    if size > OUTPUT_LIMIT:
                        break
                    parts.append(part)
            except MemoryError:
                raise Runaway(f"it needs more than {_MEMORY // 1024 // 1024} MiB of memory") from None
            except RecursionError:
                raise Runaway("it calls or includes itself without an end") from None
        content = "".join(parts).encode()
        if size > OUTPUT_LIMIT or len(content) > OUTPUT_LIMIT:
            raise Runaway(f"it makes a file of more than {OUTPUT_LIMIT // 1024} KiB")
        return content

    @contextmanager
    def _bounded(self) -> Iterator[None]:
        """Bound the memory and the CPU time of what runs inside."""

        def stop(_number: int, _frame: FrameType | None) -> None:
            self._seconds = 0
            raise Runaway("the time for all of the site's templates ends while this one runs")

        before = resource.getrlimit(resource.RLIMIT_AS)
        room = min([_in_use() + _MEMORY, *(limit for limit in before if limit != resource.RLIM_INFINITY)])
        handler = signal.signal(signal.SIGVTALRM, stop)
        resource.setrlimit(resource.RLIMIT_AS, (room, before[1]))
        # Again and again: what is raised while garbage is collected, or in a comparison of C, may be lost.
        signal.setitimer(signal.ITIMER_VIRTUAL, max(self._seconds, 0.001), _AGAIN)
        try:
            yield
        finally:
            self._seconds = min(self._seconds, _disarm())
            resource.setrlimit(resource.RLIMIT_AS, before)
            signal.signal(signal.SIGVTALRM, handler)


def _disarm() -> float:
    """Stop the timer, and tell what was left of it; it may ring once more just before."""
    while True:
        with suppress(Runaway):
            return signal.setitimer(signal.ITIMER_VIRTUAL, 0)[0]


def _loaded(templates: Templates, name: str) -> tuple[str, str, None] | None:
    text = templates.texts.get(name)
    return None if text is None else (text, templates.files[name], None)


class _Unknown(StrictUndefined):
    """Says what is missing in a template's own words, and what may have been meant."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        name = str(self._undefined_name)
        if self._undefined_hint:
            return self._undefined_hint
        if self._undefined_obj is missing:
            return f"there is no variable {name}{_meant(name, VARIABLES)}"
        holder = self._undefined_obj
        known = holder if isinstance(holder, dict) else getattr(type(holder), "__slots__", ())
        what = "this mapping" if isinstance(holder, dict) else f"a {type(holder).__name__.lower()}"
        return f"there is no {name} in {what}{_meant(name, known)}"


def _meant(name: str, known: Iterable[object]) -> str:
    near = difflib.get_close_matches(name, [str(one) for one in known], n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _printed(value: object) -> str:
    """Quote for sh what a template prints, unless it says otherwise."""
    return value if isinstance(value, Plain) else shlex.quote(_scalar(value))


def _scalar(value: object) -> str:
    """Give the text of a value; whoever prints a list or nothing at all has made a mistake."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    if isinstance(value, StrictUndefined):
        return str(value)  # which raises
    what = "nothing (null)" if value is None else "a mapping" if isinstance(value, dict) else "a list or an object"
    raise TemplateRuntimeError(f"{what} cannot be printed as it is; print a part of it, or write | json")


def _plain(value: object) -> Plain:
    text = _scalar(value)
    if "\0" in text:
        raise TemplateRuntimeError("a value holds a NUL character")
    return Plain(text)


def _json(value: object) -> Plain:
    """Write JSON on one line, which YAML reads alike."""
    if isinstance(value, StrictUndefined):
        str(value)  # raises
    try:
        return Plain(json.dumps(value, ensure_ascii=True, sort_keys=True, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise TemplateRuntimeError(f"this cannot be written as JSON: {error}") from error


def _join(values: Iterable[object], separator: str = "", attribute: str | None = None) -> str:
    texts = [_scalar(value if attribute is None else getattr(value, attribute)) for value in values]
    return separator.join(texts)


def _at_once(make: Callable[..., Any]) -> Callable[..., Any]:
    """Let a filter give a list instead of a generator."""

    @wraps(make)  # with jinja2's marks
    def eager(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - whatever the filter takes
        made = make(*arguments, **options)
        return made if isinstance(made, str) else list(made)

    return eager


def _in_use() -> int:
    """Tell the address space of this process, in bytes."""
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - nothing to do with a path
        return int(file.read().split()[0]) * resource.getpagesize()
