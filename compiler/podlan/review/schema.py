"""The inventory's models as a tree: which keys are known at a path, with which default and what meaning."""

from __future__ import annotations

import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from podlan.inventory import Inventory

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from podlan.source import KeyPath


@dataclass(frozen=True, slots=True)
class Spot:
    """What may stand at a path. `field` is its key's definition, None for entries that people name."""

    annotation: Any
    field: FieldInfo | None = None

    @property
    def keys(self) -> dict[str, FieldInfo]:
        """The known keys below, by the name that people write; empty where names or values stand."""
        model = self._model()
        return {} if model is None else {field.alias or name: field for name, field in model.model_fields.items()}

    @property
    def is_named(self) -> bool:
        """Tell whether people name the entries below."""
        return get_origin(_bare(self.annotation)) is dict

    @property
    def is_leaf(self) -> bool:
        """Tell whether nothing but a value, or a list of values, stands here."""
        return not self.keys and not self.is_named

    @property
    def default(self) -> Any:  # noqa: ANN401 - a default of any type
        """Give what podlan takes where nothing is written."""
        return None if self.field is None or self.field.is_required() else self.field.get_default()

    def below(self, step: str | int) -> Spot | None:
        """Go one step down, or give None where no such key may stand."""
        bare = _bare(self.annotation)
        arguments = get_args(bare)
        if isinstance(step, int):
            return Spot(arguments[0]) if get_origin(bare) is list else None
        if self.is_named:
            return Spot(arguments[1])
        field = self.keys.get(step)
        return None if field is None else Spot(field.annotation, field)

    def _model(self) -> type[BaseModel] | None:
        bare = _bare(self.annotation)
        return bare if isinstance(bare, type) and issubclass(bare, BaseModel) else None


def _bare(annotation: Any) -> Any:  # noqa: ANN401 - a type in any of its spellings
    """Take off Annotated and `| None`."""
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation = get_args(annotation)[0]
        elif origin is Union or origin is types.UnionType:
            annotation = next(item for item in get_args(annotation) if item is not type(None))
        else:
            return annotation


ROOT = Spot(Inventory)


def at(path: KeyPath) -> Spot | None:
    """Find what may stand at a path."""
    spot: Spot | None = ROOT
    for step in path:
        spot = spot.below(step) if spot is not None else None
    return spot


def plain(value: Any) -> Any:  # noqa: ANN401 - a default of any type
    """Give a model's value as people would write it."""
    if isinstance(value, BaseModel):
        return {field.alias or name: plain(getattr(value, name)) for name, field in type(value).model_fields.items()}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
