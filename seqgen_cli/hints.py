"""What a setting's type hint can say beyond its type and range: `trainer.samples: Annotated[int, Ge(0), NEUTRAL]`."""

import types
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin


@dataclass(frozen=True)
class Neutral:
    """The setting changes none of a run's numbers, so that it names no new run.

    kept: whether a run's config keeps it; what only one command was asked is forgotten.
    """

    kept: bool = True


NEUTRAL = Neutral()
ONCE = Neutral(kept=False)


@dataclass(frozen=True)
class Inline:
    """The parameter is a dataclass whose fields are the choice's own settings: several choices share their declaration, and
    what it checks, while `model.heads` stays `model.heads`."""


INLINE = Inline()


def marked(hint: Any, mark: type) -> Any:
    """The mark of this class that a hint, or a member of a union, carries; None without one."""
    if get_origin(hint) in (Union, types.UnionType):
        return next((found for member in get_args(hint) if (found := marked(member, mark))), None)
    if get_origin(hint) is not Annotated:
        return None
    return next((item for item in get_args(hint)[1:] if isinstance(item, mark)), None)
