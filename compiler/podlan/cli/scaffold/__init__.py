"""A site to start from: what to ask, whether an answer holds, the text, and the writing of it."""

from podlan.cli.scaffold._answers import QUESTIONS, Answers, Question
from podlan.cli.scaffold._judge import problem
from podlan.cli.scaffold._text import site_text
from podlan.cli.scaffold._writing import refuse_taken, write

__all__ = ["QUESTIONS", "Answers", "Question", "problem", "refuse_taken", "site_text", "write"]
