"""docs/settings.md says of every setting what the code says, in both languages, and of no other."""

import re
from pathlib import Path

from broker.settings import SECRETS, Settings

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "settings.md").read_text(encoding="utf-8")
ROWS = {
    name: (default, english, chinese)
    for name, default, english, chinese in re.findall(r"(?m)^\| `(BROKER_\w+)` \| (.+?) \| (.+?) \| (.+?) \|$", PAGE)
}


def variable(name):
    return f"BROKER_{name.upper()}"


def test_every_setting_is_there_and_no_other():
    assert ROWS.keys() == {variable(name) for name in Settings.model_fields}


def test_defaults_and_meanings_are_those_of_the_code():
    for name, field in Settings.model_fields.items():
        default, english, chinese = ROWS[variable(name)]
        assert default == ("—" if field.default is None else f"`{field.default}`"), name
        assert english == field.description, name
        assert re.search(r"[\u4e00-\u9fff]", chinese), name


def test_secrets_are_named_as_such():
    (named,) = re.findall(r"(?s)Secrets are:\n(.+?)\.\n", PAGE)
    assert set(re.findall(r"`(BROKER_\w+)`", named)) == {variable(name) for name in SECRETS}


def test_every_secret_may_come_from_a_file():
    for name, field in Settings.model_fields.items():
        assert ("SecretStr" in str(field.annotation)) == (name in SECRETS), name
