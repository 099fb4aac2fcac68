from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from broker.records import sources
from broker.records.sources import Entry, Part, Unreadable, bundle_part, files_of, parts
from tests.factories.records import bundle, ndjson, observation, patient


def _all(path: Path) -> list[Entry | Unreadable]:
    return [entry for part in parts(path) for entry in part.entries]


def _file(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def _codes(entries: list[Entry | Unreadable]) -> list[str]:
    return [problem.code for entry in entries if isinstance(entry, Unreadable) for problem in entry.problems]


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("name", ["x.json", "x.ndjson"])
def test_bundles_and_lines_plain_and_gzip_are_read_byte_for_byte(tmp_path: Path, name: str, zipped: bool):
    resource = b'{ "resourceType" : "Patient","id":"p1", "multipleBirthInteger" : 1 }'
    data = (
        b'\xef\xbb\xbf{"resourceType":"Bundle","type":"batch","entry":[{"resource":' + resource + b"}]}"
        if name[2:] == "json"
        else b"\n" + resource + b"\r\n\n"
    )
    path = _file(tmp_path, name + (".gz" if zipped else ""), gzip.compress(data) if zipped else data)
    (entry,) = _all(path)
    assert resource in bytes(entry.data)
    assert entry.where == ("entry[0]" if name[2:] == "json" else "line 2")


def test_a_single_resource_is_a_file_of_its_own(tmp_path: Path):
    (entry,) = _all(_file(tmp_path, "x.json", json.dumps(patient()).encode()))
    assert not entry.wrapped


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "not-json"),
        (b"{", "not-json"),
        (b"[]", "not-a-bundle"),
        (b'{"resourceType":"Bundle","type":"batch","entry":{}}', "not-a-bundle"),
        (b'{"resourceType":"Bundle","type":"document","entry":[]}', "bundle-type"),
        (b'{"resourceType":"Bundle","entry":[]}', "bundle-type"),
        (b'{"resourceType":"Bundle","type":"batch","entry":[{}],"entry":[{}]}', "duplicate-key"),
        (b'{"resourceType":"Bundle","type":"batch","entry":[{}],"type":"batch"}', "duplicate-key"),
        (b'{"resourceType":"Bundle","type":"batch","entry":[{}]} {}', "trailing-data"),
    ],
)
def test_what_is_no_bundle_is_said(tmp_path: Path, data: bytes, code: str):
    assert _codes(_all(_file(tmp_path, "x.json", data))) == [code]


def test_a_damaged_gzip_file_is_said_and_what_came_before_is_read(tmp_path: Path):
    import random

    rows = ndjson(*(observation(f"o{number}", note=[{"text": random.Random(number).randbytes(600).hex()}]) for number in range(4000)))
    entries = _all(_file(tmp_path, "x.ndjson.gz", gzip.compress(rows)[:-2000]))
    assert _codes(entries) == ["bad-gzip"]
    assert len(entries) > sources.PART_LINES


def test_a_file_that_is_not_there_is_said(tmp_path: Path):
    assert _codes(_all(tmp_path / "gone.json")) == ["unreadable-file"]


def test_a_line_that_is_too_long_is_said_and_the_next_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sources, "MAX_LINE_BYTES", 300)
    long = observation("o1", note=[{"text": "x" * 1000}])
    entries = _all(_file(tmp_path, "x.ndjson", ndjson(patient(), long, patient("p2"))))
    assert [type(entry).__name__ for entry in entries] == ["Entry", "Unreadable", "Entry"]
    assert entries[2].where == "line 3"


def test_a_file_that_is_too_large_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sources, "MAX_BUNDLE_BYTES", 100)
    assert _codes(_all(_file(tmp_path, "x.json", bundle(patient())))) == ["too-large"]
    # A few kilobytes of gzip may be gigabytes: they are not unpacked beyond the limit.
    assert _codes(_all(_file(tmp_path, "y.json.gz", gzip.compress(b" " * 10_000_000)))) == ["too-large"]


def test_ndjson_is_streamed_in_parts(tmp_path: Path):
    listed = list(parts(_file(tmp_path, "x.ndjson", ndjson(*(observation(f"o{number}") for number in range(sources.PART_LINES + 1))))))
    assert [len(part.entries) for part in listed] == [sources.PART_LINES, 1]
    assert listed[0].digest != listed[1].digest
    assert not listed[0].whole


def test_one_entry_that_nests_without_end_does_not_hide_the_others():
    deep = b'{"resource":{"resourceType":"Basic","id":"b","extension":' + b"[" * 10_000 + b"]" * 10_000 + b"}}"
    good = json.dumps({"resource": patient(), "fullUrl": 'urn:x "entry": ['}).encode()
    part = bundle_part(b'{"type":"batch","link":[{"url":"entry"}], "entry" : [' + b", ".join([good, deep, good]) + b'],"resourceType":"Bundle"}')
    assert [bytes(entry.data) for entry in part.entries if isinstance(entry, Entry)] == [good, deep, good]
    twice = bundle_part(b'{"resourceType":"Bundle","type":"batch","entry":[' + deep + b'],"entry":[]}')
    assert _codes(twice.entries) == ["duplicate-key"]


def test_folders_are_searched_and_basics_come_first(tmp_path: Path):
    for name in ("b.json", "a.ndjson.gz", "Practitioner.ndjson", "notes.txt", "sub/Medication.000.ndjson", "MedicationRequest.ndjson"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = [str(path.relative_to(tmp_path)) for path in files_of([tmp_path, tmp_path / "b.json"])]
    assert set(found[:2]) == {"Practitioner.ndjson", "sub/Medication.000.ndjson"}
    assert sorted(found[2:]) == ["MedicationRequest.ndjson", "a.ndjson.gz", "b.json"]
    assert isinstance(Part().entries, list)
