"""Begins to read a Delta table, and goes on when its files have been replaced.

    read_an_older_version.py TABLE READY GO

Opens the newest version, creates the file READY, waits for the file GO, and only then reads
the rows: {"version": …, "expected": rows, "deltalake": rows, "reopened": rows, "duckdb": rows,
"newest": rows, "replaced": files}. It does not know what was written.
"""

import json
import pathlib
import sys
import time

import duckdb
from deltalake import DeltaTable, QueryBuilder

path, ready, go = sys.argv[1:]
WAIT_S = 60


def count(table):
    builder = QueryBuilder().register("t", table)
    return builder.execute("SELECT count(DISTINCT span_id) FROM t").read_all().column(0)[0].as_py()


table = DeltaTable(path)
files = table.file_uris()
expected = sum(table.get_add_actions(flatten=True).column("num_records").to_pylist())
pathlib.Path(ready).touch()
deadline = time.monotonic() + WAIT_S
while not pathlib.Path(go).exists():
    if time.monotonic() > deadline:
        sys.exit(f"{go} did not appear")
    time.sleep(0.05)
plain = [uri.removeprefix("file://") for uri in files]
statement = "SELECT count(DISTINCT span_id) FROM read_parquet(?)"
newest = DeltaTable(path)
print(
    json.dumps(
        {
            "version": table.version(),
            "expected": expected,
            "deltalake": count(table),
            "reopened": count(DeltaTable(path, version=table.version())),
            "duckdb": duckdb.execute(statement, [plain]).fetchall()[0][0],
            "newest": count(newest),
            "replaced": len(set(files) - set(newest.file_uris())),
        }
    )
)
