"""What every section of the inventory has in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from podlan.inventory._values import Reason, RuleCode


class Section(BaseModel):
    """A section: its keys in camelCase, every other one refused."""

    # pydantic's own regex engine, in which `$` is the end of the text; to Python's re it is also before a last newline.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, alias_generator=to_camel)


class Silencing(Section):
    """A section in which findings can be silenced."""

    silence: dict[RuleCode, Reason] = Field(
        {},
        description="Warnings that are meant to be lived with here and below: the rule's code, and the reason",
        examples=[{"PL214": "the nodes sit in a routed network"}],
    )
