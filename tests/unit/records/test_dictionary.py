from __future__ import annotations

from pathlib import Path

from broker.records import dictionary, vault


def test_the_dictionary_is_what_the_script_makes_of_invented_resources(tmp_path: Path):
    dictionary.main(str(tmp_path / "again"))
    assert (tmp_path / "again").read_bytes() == vault.DICTIONARIES[1].read_bytes()
