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
    relation = duckdb.read_parquet(files, hive_partitioning=True)
    return {
        "deltalake": scalar(table, "SELECT count(*) FROM t"),
        "services": scalar(table, "SELECT count(DISTINCT service_name) FROM t"),
        "duckdb": relation.count("*").fetchone()[0],
        "regions": [row[0] for row in relation.unique("region").fetchall()],
        "attributes": relation.filter("cardinality(attributes) > 0").count("*").fetchone()[0],
        "partitions": table.metadata().partition_columns,
    }


print(json.dumps({signal: read(signal) for signal in ["spans", "logs", "metrics"]}))
