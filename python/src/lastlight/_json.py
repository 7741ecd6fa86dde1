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

# The most lists and mappings within each other that the app reads in parameters.
_DEEPEST = 100

# Bits of the largest whole number: beyond it, readers that use floats have no such number.
_LARGEST_BITS = 1023

# Elements of the largest array of numpy that is turned into lists.
_LARGEST_ARRAY = 10_000


def dumps(value: object, name: str, deepest: int = _DEEPEST) -> str:
    """Return the JSON text of a value, without spaces.

    Times, dates, paths, UUIDs, enums, and numbers and small arrays of numpy are turned into text,
    numbers and lists.

    Args:
        value: The value.
        name: What the value is called in errors.
        deepest: The most lists and mappings within each other.

    Raises:
        NotJson: A part of the value has no JSON form, such as NaN, bytes or a set.
    """
    plain = _plain(value, name, deepest)
    return json.dumps(plain, allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def _plain(value: object, place: str, levels: int) -> Any:
    if isinstance(value, Enum):
        return _plain(value.value, place, levels)
    if value is None or isinstance(value, (bool, str)):
        return _text(value, place) if isinstance(value, str) else value
    if isinstance(value, int):
        if int(value).bit_length() > _LARGEST_BITS:
            raise NotJson(f"{place} is a whole number with more than 308 digits")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise NotJson(f"{place} is {value}: JSON has no such number")
        return float(value)
    if isinstance(value, Mapping):
        _enter(place, levels)
        for key in value:
            if not isinstance(key, str):
                raise NotJson(f"{place} has the key {key!r:.80}: keys must be text")
        return {
            _text(key, place): _plain(one, f"{place}.{key:.80}", levels - 1)
            for key, one in value.items()
        }
    if isinstance(value, (list, tuple)):
        _enter(place, levels)
        return [_plain(one, f"{place}[{index}]", levels - 1) for index, one in enumerate(value)]
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (PurePath, UUID)):
        return str(value)
    return _other(value, place, levels)


def _enter(place: str, levels: int) -> None:
    if levels <= 0:
        raise NotJson(f"{place:.400} is nested too deep, or contains itself")


def _text(value: str, place: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise NotJson(f"{place} has half of a character (a surrogate): {value!r:.80}") from None
    return value


def _other(value: object, place: str, levels: int) -> Any:
    kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple):
        # What numpy has, without a need for numpy: `item` is a scalar's value, `tolist` an array's.
        turned = _of_numpy(value, shape, place, kind)
        if turned is not None:
            return _plain(turned, place, levels)
    raise NotJson(f"{place} is a {kind}: it has no JSON form; turn it into text, numbers or lists")


def _of_numpy(value: Any, shape: tuple[Any, ...], place: str, kind: str) -> Any:
    dtype = getattr(value, "dtype", None)
    letter = getattr(dtype, "kind", None)
    if letter == "M" and shape == ():
        text = str(value)
        return None if text == "NaT" else text
    # Times in lists, durations, raw bytes and complex numbers have no obvious form.
    if letter in ("M", "m", "V", "S", "c"):
        return None
    if shape == () and callable(getattr(value, "item", None)):
        plain = value.item()
        return plain if isinstance(plain, (bool, int, float, str)) else None
    if dtype is None or not callable(getattr(value, "tolist", None)):
        return None
    count = math.prod(shape)
    if count > _LARGEST_ARRAY:
        raise NotJson(
            f"{place} is a {kind} of {count:,} elements, more than {_LARGEST_ARRAY:,}: "
            "write it to storage, and return where it is"
        )
    return value.tolist()
