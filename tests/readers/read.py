"""Reads a recording with DuckDB or with pyarrow, and prints what it found as JSON.

    python read.py duckdb|pyarrow RECORDING

One object a partition, by topic and partition: how many events, the first and the last offset, the first and the last timestamp,
how many bytes keys and values have, how many headers, and a hash of every event in the order of the files.
"""

import glob
import hashlib
import json
import os
import sys


def with_pyarrow(files):
    import pyarrow
    import pyarrow.compute
    import pyarrow.parquet

    for file in files:
        table = pyarrow.parquet.read_table(file)
        columns = [
            table["topic"].cast(pyarrow.string()),
            table["partition"],
            table["offset"],
            # As a number: Python's own dates end with the year 9999.
            table["timestamp"].cast(pyarrow.int64()),
            table["timestamp_type"].cast(pyarrow.string()),
            table["captured_at"].cast(pyarrow.int64()),
            table["key"],
            table["value"],
            table["headers"],
        ]
        yield from zip(*(column.to_pylist() for column in columns))


def with_duckdb(files):
    import duckdb

    connection = duckdb.connect()
    # Rows come in the order of the file.
    connection.execute("SET preserve_insertion_order = true")
    for file in files:
        found = connection.execute(
            """SELECT topic, "partition", "offset", epoch_ms("timestamp"), timestamp_type, epoch_us(captured_at), key, value, headers
               FROM read_parquet(?)""",
            [file],
        )
        while rows := found.fetchmany(10_000):
            yield from rows


def line(row):
    """An event as one line, the same as the test's."""

    def text(data):
        return "null" if data is None else bytes(data).hex()

    topic, partition, offset, timestamp, kind, captured, key, value, headers = row
    headers = ",".join(f"{header['name']}={text(header['value'])}" for header in headers)
    times = ["null" if time is None else str(time) for time in (timestamp, captured)]
    return "|".join([topic, str(partition), str(offset), times[0], kind, times[1], text(key), text(value), headers])


def main():
    reader, recording = sys.argv[1:]
    files = sorted(glob.glob(os.path.join(glob.escape(recording), "segments", "*.parquet")))
    partitions = {}
    for row in {"duckdb": with_duckdb, "pyarrow": with_pyarrow}[reader](files):
        topic, partition, offset, timestamp, _, _, key, value, headers = row
        if (topic, partition) not in partitions:
            facts = {"topic": topic, "partition": partition, "events": 0, "first": offset, "last": offset}
            facts |= {"first_ms": None, "last_ms": None, "key_bytes": 0, "value_bytes": 0, "headers": 0}
            partitions[(topic, partition)] = (facts, hashlib.sha256())
        facts, content = partitions[(topic, partition)]
        facts["events"] += 1
        facts["first"] = min(facts["first"], offset)
        facts["last"] = max(facts["last"], offset)
        if timestamp is not None:
            facts["first_ms"] = timestamp if facts["first_ms"] is None else min(facts["first_ms"], timestamp)
            facts["last_ms"] = timestamp if facts["last_ms"] is None else max(facts["last_ms"], timestamp)
        facts["key_bytes"] += len(key or b"")
        facts["value_bytes"] += len(value or b"")
        facts["headers"] += len(headers)
        content.update(line(row).encode() + b"\n")
    json.dump([facts | {"sha256": content.hexdigest()} for _, (facts, content) in sorted(partitions.items())], sys.stdout)


main()
