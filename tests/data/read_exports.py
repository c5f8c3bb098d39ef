"""Reads exported files as analysts do, with pandas and with DuckDB.

Usage: read_exports.py DIRECTORY

For each NAME.jsonl in the directory it reads NAME.parquet and NAME.csv with both libraries, and
compares the Parquet file cell by cell with the JSON lines. It prints NAME and the number of rows.
"""

import datetime
import decimal
import json
import pathlib
import sys
import uuid

import duckdb
import pandas


def text(value):
    """The cell as the JSON lines have it."""
    if value is None or value is pandas.NaT or value is pandas.NA:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, bytes):
        return str(uuid.UUID(bytes=value))
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if isinstance(value, datetime.date):
        return value.isoformat()
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list):
        return json.dumps(value)
    if isinstance(value, (int, str, decimal.Decimal, uuid.UUID)):
        return str(value)
    raise TypeError(f"{value!r} of {type(value)}")


def parse(line):
    # Numbers stay as they are written.
    return json.loads(line, parse_float=str, parse_int=str)


def json_lines(path):
    return [list(parse(line).values()) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


def is_same(expected, found):
    # The data of an event is JSON in the JSON lines, and a text elsewhere.
    return parse(found) == expected if isinstance(expected, dict) else text(found) == text(expected)


def with_pandas(path):
    # Its own types: a date or an instant out of their range fails here.
    pandas.read_parquet(path).to_dict(orient="records")
    # Arrow's types keep whole numbers beside missing ones.
    frame = pandas.read_parquet(path, dtype_backend="pyarrow")
    return [list(row) for row in zip(*(frame[name].tolist() for name in frame.columns))]


def with_duckdb(path):
    return [list(row) for row in duckdb.read_parquet(str(path)).fetchall()]


def main(directory):
    duckdb.sql("SET TimeZone = 'UTC'")
    for lines in sorted(pathlib.Path(directory).glob("*.jsonl")):
        expected = json_lines(lines)
        for read in (with_pandas, with_duckdb):
            for before, after in zip(expected, read(lines.with_suffix(".parquet")), strict=True):
                is_same_row = all(map(is_same, before, after)) and len(before) == len(after)
                assert is_same_row, f"{lines.stem} {read.__name__}: {before} is read as {after}"
        table = lines.with_suffix(".csv")
        rows = len(pandas.read_csv(table, encoding="utf-8-sig", dtype=str, keep_default_na=False))
        assert rows == len(expected), f"{lines.stem}: pandas reads {rows} rows of CSV, not {len(expected)}"
        rows = len(duckdb.read_csv(str(table), header=True, all_varchar=True, quotechar='"', escapechar='"').fetchall())
        assert rows == len(expected), f"{lines.stem}: DuckDB reads {rows} rows of CSV, not {len(expected)}"
        print(lines.stem, len(expected))


main(sys.argv[1])
