"""Whether a password is one that people who guess would try early: common ones, names, dates, rows of keys (NIST SP 800-63B 5.1.1.2)."""

from __future__ import annotations

from collections.abc import Iterable

from zxcvbn import zxcvbn

#: Guesses (as a power of ten) that a password must withstand. One that is tried against the hash offline at 10⁴ a second falls in hours below it.
ENOUGH = 8.0
#: What is read of a long password: looking through more takes seconds, and the beginning is hard enough to guess or the rest is repetition.
READ = 72
#: What lists of common passwords, which are made of English ones, don't know: what people in Chinese hospitals begin with.
LOCAL = (
    "woaini", "woaiwojia", "5201314", "1314520", "520", "1314", "zhongguo", "beijing", "shanghai", "yiyuan", "renmin", "renminyiyuan", "hushi",
    "yisheng", "weijian", "mima", "guanliyuan", "xinxike", "a123456", "qq123456", "aa123456", "hospital", "administrator", "88888888", "66666666",
)  # fmt: skip


def is_guessable(password: str, about: Iterable[str]) -> bool:
    """Whether a password is too easily guessed. ``about``: what is known of whose it is, such as user name and name."""
    words = [word for word in (*LOCAL, *about) if word]
    return float(zxcvbn(password[:READ], user_inputs=words, max_length=READ)["guesses_log10"]) < ENOUGH
