from __future__ import annotations

from decimal import Decimal

import pytest

from broker.errors import Malformed, TooLarge
from broker.fhir.parse import depth, read_json


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b'{"a": "\xff"}', "not-utf8"),
        (b'{"a": 1, "b": 2, "a": 3}', "duplicate-key"),
        (b'{"outer": {"x": 1, "\\u0078": 2}}', "duplicate-key"),
        (b'{"a": NaN}', "bad-number"),
        (b'{"a": -Infinity}', "bad-number"),
        (b'{"a": 1e99999}', "bad-number"),
        (b'{"a": ' + b"9" * 5000 + b"}", "bad-number"),
        (b"{} {}", "trailing-data"),
        (b'{"a": 1', "not-json"),
        (b"", "not-json"),
        (b"{'a': 1}", "not-json"),
        (b'{"a": "\x01"}', "not-json"),
        (b"[" * 10_000 + b"]" * 10_000, "too-deep"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "too-deep"),
        (b"[" * 10_000, "too-deep"),
    ],
)
def test_what_is_not_json_is_refused_with_a_reason(data: bytes, code: str):
    with pytest.raises(Malformed) as caught:
        read_json(data)
    assert [problem.code for problem in caught.value.problems] == [code]


def test_the_message_never_repeats_what_was_sent():
    with pytest.raises(Malformed) as caught:
        read_json('{"张三 110101199003070011": 1, "张三 110101199003070011": 2}'.encode())
    assert "张三" not in str(caught.value)
    assert "1101" not in str(caught.value)


def test_size_is_checked_before_anything_else():
    with pytest.raises(TooLarge):
        read_json(b" " * 101, max_bytes=100)


def test_numbers_keep_their_digits():
    value = read_json(b'{"a": 13.20, "b": 100.00, "c": 0.10000000000000000000000001, "d": 7}')
    assert [str(number) for number in value.values()] == ["13.20", "100.00", "0.10000000000000000000000001", "7"]
    assert isinstance(value["a"], Decimal)


def test_a_byte_order_mark_is_ignored():
    assert read_json(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


def test_brackets_in_strings_do_not_count_as_depth():
    assert not depth(b'{"a": "' + b"[" * 500 + b'"}', 10)
    assert not depth(b'{"a": "\\"' + b"[" * 500 + b'"}', 10)
    assert depth(b"[" * 11, 10)
    assert not depth(b"[]" * 100, 10)
