"""Large bodies are read as Python reads them, but let others go on meanwhile."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from itertools import pairwise
from threading import Thread
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lutmac.server.errors import ApiError
from lutmac.server.patient_json import PatientDecoder, WrongValueError
from lutmac.server.request_body import MAX_VALUES, read_json

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(st.integers(), min_size=5, max_size=20)
        | st.dictionaries(st.text(), inner, max_size=5)
    ),
)


def outcome(read: Callable[[str], Any], text: str) -> Any:
    try:
        return read(text)
    except json.JSONDecodeError as error:
        return f"error: {error}"


@settings(max_examples=50)
@given(values)
def test_the_value_is_pythons(value: Any) -> None:
    for text in (json.dumps(value), json.dumps(value, indent=1, ensure_ascii=False)):
        assert PatientDecoder(10_000).decode(text) == value


@settings(max_examples=50)
@given(values, st.data())
def test_what_is_no_json_is_refused_with_pythons_words(value: Any, data: st.DataObject) -> None:
    text = json.dumps(value)
    place = data.draw(st.integers(0, len(text)))
    broken = text[:place] + data.draw(st.sampled_from(["", ",", "}", "]", '"', "x", ":", "-"])) + text[place + 1 :]
    assert outcome(PatientDecoder(10_000).decode, broken) == outcome(json.loads, broken)


@pytest.mark.parametrize(
    ("value", "count"), [([1] * 100, 0), (["a"] * 100, 100), ([[1]] * 9, 9), ({"a": 1, "b": {"c": None}}, 3)]
)
def test_values_beside_integers_in_lists_are_counted(value: Any, count: int) -> None:
    text = json.dumps(value)
    assert PatientDecoder(count).decode(text) == value
    if count:
        with pytest.raises(WrongValueError):
            PatientDecoder(count - 1).decode(text)


def test_too_many_values_are_refused_before_all_are_read() -> None:
    with pytest.raises(ApiError, match=f"more than {MAX_VALUES} values"):
        read_json(json.dumps({"prompt": [["a"], {"x": 1}] * MAX_VALUES}).encode())
    with pytest.raises(ApiError, match=f"more than {MAX_VALUES} values"):
        read_json(b"[" + b'"a",' * (MAX_VALUES + 1) + b"no JSON")


def test_what_no_json_can_say_is_refused_with_its_place() -> None:
    for body in ('{"a": [1, {"b": NaN}]}', '{"a": [1, {"b": Infinity}], "long": "' + "x" * 100_000 + '"}'):
        with pytest.raises(ApiError, match=r"Invalid 'a\[1\]\.b': (NaN|Infinity) is no JSON"):
            read_json(body.encode())


def test_a_million_numbers_are_read() -> None:
    assert read_json(json.dumps({"tokens": [7] * 1_000_000}).encode()) == {"tokens": [7] * 1_000_000}


def test_another_thread_has_the_interpreter_meanwhile() -> None:
    """As the time of the reading thread shows that passes between two looks at it: no look is far from the next."""
    body = json.dumps({"tokens": [1] * 600_000}).encode()
    reader = Thread(target=read_json, args=(body,))
    reader.start()
    clock = time.pthread_getcpuclockid(reader.ident or 0)
    looks = [time.clock_gettime(clock)]
    while reader.is_alive():
        try:
            looks.append(time.clock_gettime(clock))
        except OSError:
            break
        time.sleep(0)
    assert len(looks) > 20
    steps = [later - earlier for earlier, later in pairwise(looks)]
    assert sorted(steps)[-3] < 0.02
