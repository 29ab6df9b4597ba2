"""Reads our Delta tables with programs that are not ours, and prints what they found.

    read_tables.py STORE            ->   {"spans": {"deltalake": rows, "duckdb": rows, ...}, ...}
    read_tables.py s3://BUCKET/...  ->   the same without DuckDB, whose S3 is a download of its own
    read_tables.py STORE --by-hand  ->   {"deltalake": {...}, "duckdb": {...}}

The last form reads the values of what sdk_sends_everything.py makes by hand: binary ids,
times, maps, lists, structs in lists, and maps in those. It knows what was sent only as far
as that is the same in each run; what is not, it prints.
"""

import datetime
import json
import sys

import duckdb
from arro3.core import Table
from deltalake import DeltaTable, QueryBuilder


def scalar(table, statement):
    builder = QueryBuilder().register("t", table)
    return builder.execute(statement).read_all().column(0)[0].as_py()


def read(signal):
    table = DeltaTable(f"{sys.argv[1]}/{signal}")
    if sys.argv[1].startswith("s3://"):
        return {"deltalake": scalar(table, "SELECT count(*) FROM t")}
    files = [uri.removeprefix("file://") for uri in table.file_uris()]

    def duck(what):
        statement = f"SELECT {what} FROM read_parquet(?, hive_partitioning = true)"
        return duckdb.execute(statement, [files]).fetchall()[0][0]

    return {
        "deltalake": scalar(table, "SELECT count(*) FROM t"),
        "services": scalar(table, "SELECT count(DISTINCT service_name) FROM t"),
        "duckdb": duck("count(*)"),
        "regions": duck("list(DISTINCT region)"),
        "attributes": duck("count(*) FILTER (cardinality(attributes) > 0)"),
        "partitions": table.metadata().partition_columns,
    }


# Which rows, and columns of every type that there is.
BY_HAND = {
    "spans": ("name = 'by hand'", ["trace_id", "start_time", "start_time_ns", "attributes", "events", "links",
                                   "dropped_links_count", "duration_ns"]),
    "logs": ("event_name = 'by.hand'", ["trace_id", "time", "time_ns", "body", "attributes"]),
    "metrics": ("metric_name = 'hand.histogram' AND count = 6",
                ["explicit_bounds", "bucket_counts", "exemplars", "attributes", "min", "sum"]),
}


def plain(value):
    """Bytes as hexadecimal, times as UTC; a map is a list of pairs already."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.timezone.utc).isoformat()
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return value


def rows(table):
    table = Table.from_arrow(table)
    columns = [[plain(cell.as_py()) for cell in table.column(name)] for name in table.column_names]
    return [dict(zip(table.column_names, row)) for row in zip(*columns)]


def by_hand():
    found = {"deltalake": {}, "duckdb": {}}
    for signal, (where, columns) in BY_HAND.items():
        table = DeltaTable(f"{sys.argv[1]}/{signal}")
        question = f"SELECT {', '.join(columns)} FROM t WHERE {where}"
        builder = QueryBuilder().register("t", table)
        found["deltalake"][signal] = rows(builder.execute(question).read_all())
        files = duckdb.read_parquet([uri.removeprefix("file://") for uri in table.file_uris()])
        found["duckdb"][signal] = rows(files.query("t", question))
    return found


if sys.argv[2:] == ["--by-hand"]:
    print(json.dumps(by_hand()))
    sys.exit()
print(json.dumps({signal: read(signal) for signal in ["spans", "logs", "metrics"]}))
