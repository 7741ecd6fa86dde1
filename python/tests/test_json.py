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


class _Dtype:
    def __init__(self, kind: str) -> None:
        self.kind = kind


class _Numbers:
    """As an array of numpy looks."""

    def __init__(self, *numbers: float) -> None:
        self.shape = (len(numbers),)
        self.dtype = _Dtype("f")
        self._numbers = list(numbers)

    def tolist(self) -> list[float]:
        return self._numbers


def test_small_arrays_become_lists() -> None:
    assert json.loads(dumps({"a": _Numbers(1.0, 2.5)}, "result")) == {"a": [1.0, 2.5]}
    with pytest.raises(NotJson, match=r"result\.a\[1\] is nan"):
        dumps({"a": _Numbers(1.0, math.nan)}, "result")
    with pytest.raises(NotJson, match=r"result is a test_json\._Numbers of 20,000 elements"):
        dumps(_Numbers(*range(20_000)), "result")


def test_numpy_itself_is_turned() -> None:
    numpy = pytest.importorskip("numpy")
    value = {
        "scalars": [numpy.float32(1.5), numpy.int64(2), numpy.bool_(True), numpy.str_("a")],
        "array": numpy.arange(6, dtype="uint8").reshape(2, 3),
        "when": numpy.datetime64("2026-11-30T12:00:00.000000001"),
    }
    assert json.loads(dumps(value, "result")) == {
        "scalars": [1.5, 2, True, "a"],
        "array": [[0, 1, 2], [3, 4, 5]],
        "when": "2026-11-30T12:00:00.000000001",
    }
    for wrong in (numpy.complex64(1), numpy.timedelta64(1, "s"), numpy.datetime64("NaT")):
        with pytest.raises(NotJson, match="no JSON form"):
            dumps(wrong, "result")
    with pytest.raises(NotJson, match="result is nan"):
        dumps(numpy.float32("nan"), "result")


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
