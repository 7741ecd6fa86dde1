"""What becomes JSON, and what is refused with its place."""

from __future__ import annotations

import datetime
import enum
import json
import math
import pathlib
import uuid
from typing import Any

import pytest

from lastlight import NotJson
from lastlight._json import dumps


class _Kind(enum.Enum):
    RASTER = "raster"


class _Float32:
    """As a scalar of numpy looks."""

    shape = ()

    def item(self) -> float:
        return 1.5


class _Array:
    shape = (2,)

    def item(self) -> float:
        raise ValueError("more than one")


def test_values_with_an_obvious_form_are_turned() -> None:
    day = datetime.date(2026, 11, 30)
    value = {
        "kind": _Kind.RASTER,
        "when": datetime.datetime(2026, 11, 30, 12, tzinfo=datetime.timezone.utc),
        "day": day,
        "path": pathlib.PurePosixPath("a/b"),
        "id": uuid.UUID(int=1),
        "numbers": (1, 2.5, True, None, _Float32()),
    }
    assert json.loads(dumps(value, "result")) == {
        "kind": "raster",
        "when": "2026-11-30T12:00:00+00:00",
        "day": "2026-11-30",
        "path": "a/b",
        "id": "00000000-0000-0000-0000-000000000001",
        "numbers": [1, 2.5, True, None, 1.5],
    }


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"bands": [1, 2, _Array()]}, r"result\.bands\[2\] is a test_json\._Array"),
        ({"a": {"b": math.nan}}, r"result\.a\.b is nan: JSON has no such number"),
        ([math.inf], r"result\[0\] is inf"),
        ({"raw": b"x"}, r"result\.raw is a bytes"),
        ({"ids": {1, 2}}, r"result\.ids is a set"),
        ({1: "x"}, r"result has the key 1: keys must be text"),
        ({"text": "\ud800"}, r"result\.text has half of a character"),
    ],
)
def test_values_without_a_form_are_named_with_their_place(value: object, words: str) -> None:
    with pytest.raises(NotJson, match=words):
        dumps(value, "result")


def test_a_value_that_contains_itself_is_refused() -> None:
    circle: dict[str, Any] = {}
    circle["self"] = circle
    with pytest.raises(NotJson, match="contains itself"):
        dumps(circle, "result")
