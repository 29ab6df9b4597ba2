"""Asks DuckDB the benchmark's questions over the same Parquet files.

    duckdb_queries.py SPEC.json   ->   {"version": "…", "peak_mib": 1, "answers": {NAME: {…}}}

SPEC.json is {"files": {TABLE: [paths]}, "threads": 2, "memory": "2GB",
"questions": [{"name": "…", "statements": ["…"], "repeat": 5}]}: each statement is asked
`repeat` times after a first time that is told apart. An answer is
{"first_ms": 1.0, "ms": [1.0], "cpu_ms": 1.0, "rows": 1}.
"""

import json
import resource
import sys
import time

import duckdb

with open(sys.argv[1]) as file:
    spec = json.load(file)


def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


connection = duckdb.connect()
connection.execute(f"SET threads = {spec['threads']}")
connection.execute(f"SET memory_limit = '{spec['memory']}'")
connection.execute("SET TimeZone = 'UTC'")
connection.execute("SET parquet_metadata_cache = true")
for table, paths in spec["files"].items():
    if paths:
        listed = ", ".join(f"'{path}'" for path in paths)
        connection.execute(
            f"CREATE VIEW {table} AS SELECT * FROM read_parquet([{listed}], hive_partitioning = true)")


def ask(statement):
    """The answer stays in DuckDB: to make Python objects of it would not be DuckDB's cost."""
    start = time.perf_counter()
    connection.execute(f"CREATE OR REPLACE TEMP TABLE answer AS {statement}")
    return (time.perf_counter() - start) * 1e3


answers = {}
for question in spec["questions"]:
    first = ask(question["statements"][0])
    rows = connection.execute("SELECT count(*) FROM answer").fetchall()[0][0]
    before, times = cpu(), []
    for statement in question["statements"] * question["repeat"]:
        times.append(ask(statement))
    answers[question["name"]] = {
        "first_ms": first,
        "ms": times,
        "cpu_ms": (cpu() - before) * 1e3 / max(1, len(times)),
        "rows": rows,
    }
print(json.dumps({
    "version": duckdb.__version__,
    "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    "answers": answers,
}))
