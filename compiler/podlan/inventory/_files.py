"""A site's own files on its nodes, made from its own templates."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from podlan.inventory._section import Section

TemplateName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*\.j2$", max_length=200)]
FileMode = Annotated[str, StringConstraints(pattern=r"^0[0-7][0145][0145]$")]
UnitName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9:_.\\@-]*\.(service|socket|timer|path)$", max_length=255)
]


class OwnFile(Section):
    """One file on a node, from a jinja2 template in the site's directory `templates`.

    Each layer (site, profiles, node) may say some of it; `template` must come from one of them.
    """

    template: TemplateName | None = Field(
        None, description="The template's file in the site's directory templates", examples=["sysctl.j2"]
    )
    mode: FileMode = Field("0644", description="The file's mode, in octal; others never write", examples=["0755"])
    restart: list[UnitName] = Field(
        [], description="Units that read the file only when they start", examples=[["chrony.service"]]
    )
    values: dict[str, Any] = Field(
        {}, description="What the template finds as `values`", examples=[{"ntp": "172.16.129.53"}]
    )
