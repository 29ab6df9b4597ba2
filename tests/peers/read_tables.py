"""Reads our Delta tables with programs that are not ours, and prints what they found.

    read_tables.py STORE   ->   {"spans": {"deltalake": rows, "duckdb": rows, ...}, ...}
"""

import json
import sys

import duckdb
from deltalake import DeltaTable, QueryBuilder


def scalar(table, statement):
    builder = QueryBuilder().register("t", table)
    return builder.execute(statement).read_all().column(0)[0].as_py()


def read(signal):
    table = DeltaTable(f"{sys.argv[1]}/{signal}")
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


print(json.dumps({signal: read(signal) for signal in ["spans", "logs", "metrics"]}))
