"""Says what a table's newest version holds, by a reader that is not ours.

    table_files.py STORE TABLE   ->   {"files": 3, "bytes": 123, "rows": 4, "paths": [...]}

STORE is a directory.
"""

import json
import os
import sys

import duckdb
from deltalake import DeltaTable

table = DeltaTable(f"{sys.argv[1]}/{sys.argv[2]}")
paths = [uri.removeprefix("file://") for uri in table.file_uris()]
rows = 0
if paths:
    statement = "SELECT sum(num_rows) FROM parquet_file_metadata(?)"
    rows = int(duckdb.execute(statement, [paths]).fetchall()[0][0])
print(json.dumps({
    "files": len(paths),
    "bytes": sum(os.path.getsize(path) for path in paths),
    "rows": rows,
    "paths": paths,
}))
