"""Lists as files: Chinese arrives as Chinese in both forms, and no cell is a formula (CWE-1236; RS-7.1, issue 7)."""

from __future__ import annotations

import csv
import io

import openpyxl
import pytest

from broker.console.tables import Cell, Column, Table, exported

HOSTILE = ("=1+1", "+1", "-1", "@x", "\t=1", "\r=1", "\n=1", "＝1", "＋1", "－1", "＠x", '=HYPERLINK("http://x","点此")')


def table() -> Table:
    rows = [[Cell("张秀英", note="心内科"), Cell(one)] for one in HOSTILE]
    return Table("/console/people", [Column("姓名"), Column("备注")], rows)


def test_a_csv_file_is_read_as_chinese_by_a_spreadsheet_and_holds_no_formula():
    answer = exported(table(), "csv", "people")
    assert answer.body.startswith(b"\xef\xbb\xbf"), "without the mark Excel reads another character set"
    lines = list(csv.reader(io.StringIO(answer.body.decode("utf-8-sig"), newline="")))
    assert lines[0] == ["姓名", "备注"]
    assert len(lines) == len(HOSTILE) + 1
    for line, cell in zip(lines[1:], HOSTILE, strict=True):
        assert line == ["张秀英 心内科", f"'{cell}"]
    assert answer.headers["content-disposition"] == 'attachment; filename="people.csv"'


def test_a_workbook_holds_words_alone():
    sheet = openpyxl.load_workbook(io.BytesIO(exported(table(), "xlsx", "people").body)).active
    assert [cell.value for cell in sheet[1]] == ["姓名", "备注"]
    for row in sheet.iter_rows(min_row=2):
        assert [cell.data_type for cell in row] == ["s", "s"]
        assert row[0].value == "张秀英 心内科"


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_an_empty_list_is_a_file_with_its_heads(kind):
    assert exported(Table("/x", [Column("姓名")], []), kind, "x").body
