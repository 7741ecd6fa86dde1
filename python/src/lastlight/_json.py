"""Values as JSON: what has an obvious form is turned into it, all else is an error."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import date, datetime, time
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

from lastlight._errors import NotJson

# As deep as the app reads values.
_DEEPEST = 100


def dumps(value: object, name: str) -> str:
    """Return the JSON text of a value.

    Times, dates, paths, UUIDs, enums, and numbers of numpy are turned into text and numbers.

    Args:
        value: The value.
        name: What the value is called in errors.

    Raises:
        NotJson: A part of the value has no JSON form, such as NaN, bytes or a set.
    """
    return json.dumps(_plain(value, name, 0), allow_nan=False, separators=(",", ":"))


def _plain(value: object, place: str, depth: int) -> Any:
    if depth > _DEEPEST:
        raise NotJson(f"{place} is nested deeper than {_DEEPEST} levels, or contains itself")
    if isinstance(value, Enum):
        return _plain(value.value, place, depth)
    if value is None or isinstance(value, (bool, str)):
        return _text(value, place) if isinstance(value, str) else value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise NotJson(f"{place} is {value}: JSON has no such number")
        return float(value)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise NotJson(f"{place} has the key {key!r}: keys must be text")
        return {
            _text(key, place): _plain(one, f"{place}.{key}", depth + 1)
            for key, one in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_plain(one, f"{place}[{index}]", depth + 1) for index, one in enumerate(value)]
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (PurePath, UUID)):
        return str(value)
    return _other(value, place, depth)


def _text(value: str, place: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise NotJson(f"{place} has half of a character (a surrogate): {value!r:.80}") from None
    return value


def _other(value: object, place: str, depth: int) -> Any:
    kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    # The scalars of numpy, without a need for numpy: `item` is their number in Python.
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "shape", None) == ():
        plain = item()
        if isinstance(plain, (bool, int, float, str)):
            return _plain(plain, place, depth)
    raise NotJson(f"{place} is a {kind}: it has no JSON form; turn it into text, numbers or lists")
