"""Reading rows: the three formats, and files in which something is wrong."""

from decimal import Decimal

import pytest

from kernel.errors import Misconfigured
from meterline.importer.source import open_source, rows_of


def _rows(path):
    return list(rows_of(open_source(path)))


def test_csv_numbers_rows_and_reports_bad_ones_in_place(tmp_path):
    path = tmp_path / "usage.csv"
    path.write_bytes(b'a,b\r\n1,"x\ny"\r\n2\r\n\r\n3,\xff\r\n4,z')
    rows = _rows(path)
    assert [(row.number, row.line, row.error is None) for row in rows] == [
        (0, 2, True),
        (1, 4, False),
        (2, 6, False),
        (3, 7, True),
    ]
    assert rows[0].columns == {"a": "1", "b": "x\ny"}
    assert rows[3].columns == {"a": "4", "b": "z"}


def test_a_csv_needs_a_header_with_each_name_once(tmp_path):
    for content in (b"", b"a,a\n1,2\n"):
        path = tmp_path / "usage.csv"
        path.write_bytes(content)
        with pytest.raises(Misconfigured, match="first line"):
            open_source(path)


def test_json_lines_keep_decimals_exact(tmp_path):
    path = tmp_path / "usage.jsonl"
    path.write_bytes(b'{"v": 0.1}\n\n[1]\n{"v": \n{"v": 12345678901234567890.5}\n')
    rows = _rows(path)
    assert [row.error is None for row in rows] == [True, False, False, True]
    assert (rows[0].columns["v"], rows[3].columns["v"]) == (Decimal("0.1"), Decimal("12345678901234567890.5"))
    assert [row.line for row in rows] == [1, 3, 4, 5]


def test_parquet_is_read_in_the_files_order(tmp_path):
    from chdb.session import Session

    path = tmp_path / "it's.parquet"
    session = Session()
    try:
        quoted = str(path).replace("'", "\\'")
        session.query(
            "SELECT number AS n, toDecimal64(number / 10, 3) AS d,"
            " toDateTime64('2023-11-16 18:15:46.680590', 6, 'UTC') AS t"
            f" FROM numbers(100000) INTO OUTFILE '{quoted}' FORMAT Parquet"
        )
    finally:
        session.close()
    rows = _rows(path)
    assert [row.columns["n"] for row in rows] == list(range(100_000))
    assert rows[7].columns["d"] == Decimal("0.7")
    assert rows[7].columns["t"] == "2023-11-16 18:15:46.680590Z"


def test_the_files_key_is_a_function_of_its_bytes(tmp_path):
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    first.write_bytes(b"a\n1\n")
    second.write_bytes(b"a\n1\n")
    assert open_source(first).key == open_source(second).key
    second.write_bytes(b"a\n2\n")
    assert open_source(first).key != open_source(second).key


def test_unknown_formats_and_missing_files_are_refused(tmp_path):
    with pytest.raises(Misconfigured, match="no file"):
        open_source(tmp_path / "a.csv")
    with pytest.raises(Misconfigured, match="none of"):
        open_source(tmp_path / "a.xlsx")
