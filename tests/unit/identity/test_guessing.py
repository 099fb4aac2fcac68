"""Passwords that are tried early are refused, whoever they would belong to (NIST SP 800-63B 5.1.1.2; ASVS 5.0 6.2.4)."""

from __future__ import annotations

import secrets

import pytest

from broker.identity.guessing import is_guessable


@pytest.mark.parametrize(
    "password",
    ["password1234", "P@ssw0rd2024!", "Aa123456789!", "qwertyuiop12", "adminadmin12", "woaini1314520", "zhongguo2026", "guanliyuan123", "a1" * 60],
)
def test_what_many_choose_is_refused(password):
    assert is_guessable(password, ())


def test_a_name_with_a_year_is_refused_where_the_name_is_known():
    assert is_guessable("gaominmin2026", ("gaominmin",))


@pytest.mark.parametrize("password", ["four grey herons wade", "nine wet herons walk", "天安门前的白鸽真多呀飞", "7&" + "kV!q" * 20 + "x9#"])
def test_words_that_have_nothing_to_do_with_each_other_are_taken(password):
    assert not is_guessable(password, ("gao.min", "高敏"))


def test_what_chance_makes_is_taken():
    assert not any(is_guessable(secrets.token_urlsafe(16), ("gao.min",)) for _ in range(20))
