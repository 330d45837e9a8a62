"""`podlan init`: a site to start from."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from podlan import pipeline
from podlan.cli import EXIT_CODES
from podlan.cli.scaffold import QUESTIONS, Answers, problem, refuse_taken, site_text, write
from podlan.diagnostics import Exit, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from podlan.cli.scaffold import Question

_F = TypeVar("_F", bound="Callable[..., object]")


def _options(function: _F) -> _F:
    """Give every question its option."""
    for question in reversed(QUESTIONS):
        function = click.option(
            question.option,
            question.key,
            type=click.Choice(question.choices) if question.choices else str,
            metavar=None if question.choices else question.metavar,
            multiple=question.several,
            help=f"{question.asks}{'; repeat it' * (question.key == 'nodes')}.  [default: {question.default_is}]",
        )(function)
    return function


@click.command(epilog=EXIT_CODES)
@click.argument("directory", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@_options
@click.option("-y", "--yes", is_flag=True, help="Ask nothing: take the default of whatever no option says.")
def init(directory: Path, *, yes: bool, **said: str | tuple[str, ...] | None) -> None:
    """Write a commented site into DIR, which must be new or empty (or a fresh git repository).

    On a terminal init asks for what no option says, and judges every answer at once by the rules of `podlan check`.
    Without a terminal, or with --yes, it asks nothing. The word none is the answer for an empty list. Nothing is
    written before the last answer.

    \b
    Examples:
      podlan init site
      podlan init site --yes --subnet 172.16.129.0/24 --gateway 172.16.129.254 --node node-1=172.16.129.101
    """
    refuse_taken(directory)
    asking = not yes and all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))
    answers = _given(said, asking=asking)
    open_questions = [question for question in QUESTIONS if said[question.key] in (None, ())]
    if asking and open_questions:
        answers = _asked(answers, open_questions, directory)
        click.echo(f"\nthe same without questions:\n  {_command(answers, directory)}\n")
    else:
        answers = _by_default(answers, open_questions, directory)
    site, attributes = write(directory, site_text(answers))
    checked = pipeline.check(directory)
    if checked.findings:
        click.echo(text(checked.findings, checked.source.texts), nl=False, err=True)
    click.echo(f"wrote {site} and {attributes}; next: podlan check {shlex.quote(str(directory))}")
    sys.exit(Exit.FAILED if checked.failed else Exit.DONE)


def _given(said: dict[str, str | tuple[str, ...] | None], *, asking: bool) -> Answers:
    """Take what options say. While the subnet is still to be asked, only each value by itself can be judged."""
    answers = Answers()
    for question in QUESTIONS:
        told = said[question.key]
        if told is None or told == ():
            continue
        answers = _with(answers, question, question.read(*([told] if isinstance(told, str) else told)))
        wrong = problem(answers, shape_only=asking and not said["subnet"]) if told else "it is empty; leave it out"
        if wrong:
            raise click.BadParameter(wrong, click.get_current_context(), param_hint=question.option)
    return answers


def _by_default(answers: Answers, open_questions: list[Question], directory: Path) -> Answers:
    for question in open_questions:
        answers, wrong = _best_default(answers, question, directory)
        if wrong:
            raise click.UsageError(f"give {question.option}: {wrong}", click.get_current_context())
    return answers


def _best_default(answers: Answers, question: Question, directory: Path) -> tuple[Answers, str]:
    """Take the first default that holds, else the last, with what is wrong with it."""
    tried, wrong = answers, ""
    for default in question.defaults(answers, directory):
        tried = _with(answers, question, default)
        wrong = problem(tried)
        if not wrong:
            break
    return tried, wrong


def _asked(answers: Answers, open_questions: list[Question], directory: Path) -> Answers:
    click.echo("Enter takes the answer in brackets; Ctrl-C ends, and nothing is written.\n")
    try:
        for question in open_questions:
            answers = _nodes(answers, question) if question.key == "nodes" else _ask(answers, question, directory)
    except (click.Abort, KeyboardInterrupt):
        click.echo("\naborted: nothing was written", err=True)
        sys.exit(Exit.FAILED)
    return answers


def _ask(answers: Answers, question: Question, directory: Path) -> Answers:
    """Ask until an answer holds."""
    best = getattr(_best_default(answers, question, directory)[0], question.key)
    default = (", ".join(best) or "none") if isinstance(best, tuple) else best
    asks = f"{question.asks}, {' | '.join(question.choices)}" if question.choices else question.asks
    while True:
        tried = _with(answers, question, question.read(_typed(asks, default)))
        wrong = problem(tried)
        if not wrong:
            return tried
        click.echo(f"  {wrong}")


def _nodes(answers: Answers, question: Question) -> Answers:
    """Ask for one node after the other; one that does not hold is not taken."""
    asks = f"{question.asks}, {question.metavar} (an empty line ends)"
    while typed := question.read(_typed(asks, "")):
        tried = _with(answers, question, (*answers.nodes, *typed))
        wrong = problem(tried)
        if wrong:
            click.echo(f"  {wrong}")
        else:
            answers = tried
    return answers


def _typed(asks: str, default: str) -> str:
    while True:
        try:
            return str(click.prompt(asks, default=default, show_default=bool(default))).strip() or default
        except UnicodeDecodeError:
            click.echo("  this is not UTF-8 text; type it again")


def _with(answers: Answers, question: Question, value: str | tuple[str, ...]) -> Answers:
    change: dict[str, Any] = {question.key: value}
    return replace(answers, **change)


def _command(answers: Answers, directory: Path) -> str:
    """Write the command that gives the same site without a question."""
    words = ["podlan", "init", str(directory), "--yes"]
    for question in QUESTIONS:
        value = getattr(answers, question.key)
        values = value if question.key == "nodes" else [",".join(value)] if question.several else [value]
        words += [word for item in values if item for word in (question.option, item)]
    return shlex.join(words)
