"""Settings by construction: every number of every settings class, registered parts included, is strict and bounded."""

from __future__ import annotations

import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
import pytest
from pydantic import BaseModel, Field
from pydantic.fields import FieldInfo

from calopipe.config import Study
from calopipe.config.base import Section, validate
from calopipe.config.bounds import Energy, Scale
from calopipe.config.parts import METRICS, MODELS, STEPS
from calopipe.config.reference import _sections
from calopipe.errors import ConfigError


def every_section() -> list[type[BaseModel]]:
    """Settings classes of a study and of all registered parts."""
    found = _sections(Study)
    for registry in (MODELS, STEPS, METRICS):
        for name in registry.names():
            cls = registry.config_class(name)
            found += [] if cls is None else _sections(cls)
    return list(dict.fromkeys(found))


def unbounded(annotation: Any, constraints: tuple[Any, ...] = ()) -> list[str]:
    """Numbers within an annotation that lack a lower or an upper bound, as text."""
    if isinstance(annotation, FieldInfo):
        return unbounded(annotation.annotation, (*constraints, *annotation.metadata))
    origin = get_origin(annotation)
    if origin is Annotated:
        base, *extra = get_args(annotation)
        flat = [c for e in extra for c in (e.metadata if isinstance(e, FieldInfo) else [e])]
        return unbounded(base, (*constraints, *flat))
    if origin is Literal or annotation in (bool, str, type(None), Any):
        return []
    if annotation in (int, float):
        low = any(isinstance(c, annotated_types.Ge | annotated_types.Gt) for c in constraints)
        high = any(isinstance(c, annotated_types.Le | annotated_types.Lt) for c in constraints)
        return [] if low and high else [f"{annotation.__name__} with bounds {constraints}"]
    if origin in (Union, types.UnionType):  # bounds of an optional number may stand on the field
        return [line for a in get_args(annotation) for line in unbounded(a, constraints)]
    return [line for a in get_args(annotation) if a is not Ellipsis for line in unbounded(a)]


@pytest.mark.parametrize("section", every_section(), ids=lambda s: s.__name__)
def test_numbers_are_bounded_and_strict(section):
    assert issubclass(section, Section) and section.model_config["strict"] and section.model_config["frozen"]
    assert not section.model_config["allow_inf_nan"]
    for name, field in section.model_fields.items():
        assert not unbounded(field), f"{section.__name__}.{name}: {unbounded(field)}"


def test_the_walk_sees_what_is_missing():
    class Sloppy(Section):
        a: int = 1
        b: float = Field(1.0, gt=0)
        c: list[int] = Field([1], max_length=3)
        d: Scale | None = None
        e: dict[str, float] = Field({})
        f: Annotated[tuple[Energy, Energy], Field(strict=False)] = (0, 1)

    assert {name for name, field in Sloppy.model_fields.items() if unbounded(field)} == {"a", "b", "c", "e"}
    assert len(every_section()) > 30


@pytest.mark.parametrize("section", every_section(), ids=lambda s: s.__name__)
def test_numbers_are_not_converted(section):
    """A boolean is no number, a text neither; infinities and 400 digits are out of bounds. Each is one line."""
    for name, field in section.model_fields.items():
        allowed = {field.annotation, *get_args(field.annotation)}
        if not any(kind in str(field.annotation) for kind in ("int", "float")) or bool in allowed:
            continue
        for value in ("1", "1e-3", [True], float("inf"), float("nan"), 10**400, -(10**400)):
            with pytest.raises(ConfigError) as caught:
                validate(section, {name: value}, "")
            assert name in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 2000


def test_text_that_looks_like_a_number_is_explained():
    class Small(Section):
        lr: Scale = 1.0

    with pytest.raises(ConfigError, match=r"lr: input should be a valid number \(found '1e-3'\); .* write 1.0e-03"):
        validate(Small, {"lr": "1e-3"}, "")
    with pytest.raises(ConfigError, match="lr: input should be a valid number .found True.$"):
        validate(Small, {"lr": True}, "")


@pytest.mark.parametrize("section", every_section(), ids=lambda s: s.__name__)
def test_no_bound_hides_a_narrower_one(section):
    """Of two bounds of one kind pydantic keeps the last: types are narrowed by Annotated, whose bounds come last."""
    for name, field in section.model_fields.items():
        for kind, narrowest in (("ge", max), ("gt", max), ("le", min), ("lt", min)):
            bounds = [getattr(c, kind) for c in field.metadata if getattr(c, kind, None) is not None]
            assert not bounds or bounds[-1] == narrowest(bounds), f"{section.__name__}.{name}: {kind} {bounds}"
