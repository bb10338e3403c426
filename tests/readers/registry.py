"""A build over lines that speaks to its schema registry with Confluent's own client, and writes down what that finds.

It reads its input to the end and leaves; each line it writes is an output.
"""

import json
import sys

from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

client = SchemaRegistryClient({"url": sys.argv[1]})
FIRST = '{"type":"record","name":"Order","fields":[{"name":"id","type":"string"}]}'
NEXT = FIRST.replace("}]}", '},{"name":"n","type":"int","default":0}]}')
BROKEN = FIRST.replace("}]}", '},{"name":"m","type":"int"}]}')
PROTO = 'syntax = "proto3";\nmessage Order { string id = 1; }\n'


def code(call, *arguments):
    try:
        call(*arguments)
    except SchemaRegistryError as error:
        return [error.http_status_code, error.error_code]
    return None


def found(version):
    return [version.subject, version.version, version.schema_id, version.schema.schema_type, version.schema.schema_str]


told = {
    "recorded": client.get_schema(7).schema_str,
    "latest": found(client.get_latest_version("orders-value")),
    "subjects": client.get_subjects(),
    "registered": client.register_schema("orders-value", Schema(NEXT, "AVRO")),
    "again": client.register_schema("elsewhere-value", Schema(NEXT, "AVRO")),
    "looked up": found(client.lookup_schema("orders-value", Schema(NEXT, "AVRO"))),
    "versions": client.get_versions("orders-value"),
    "compatible": client.test_compatibility("orders-value", Schema(NEXT, "AVRO")),
    "incompatible": client.test_compatibility("orders-value", Schema(BROKEN, "AVRO")),
    "refused": code(client.register_schema, "orders-value", Schema(BROKEN, "AVRO")),
    "protobuf": client.register_schema("proto-value", Schema(PROTO, "PROTOBUF")),
    "referring": client.register_schema(
        "customers-value",
        Schema(
            '{"type":"record","name":"C","fields":[{"name":"o","type":"Order"}]}',
            "AVRO",
            [SchemaReference("Order", "orders-value", 4)],
        ),
    ),
    "no subject": code(client.get_latest_version, "nowhere"),
    "no id": code(client.get_schema, 4711),
    "no version": code(client.get_version, "orders-value", 99),
    "level": client.get_compatibility("orders-value") if code(client.get_compatibility, "orders-value") is None else None,
    "set": client.set_compatibility("orders-value", "NONE"),
    "accepted then": client.register_schema("orders-value", Schema(BROKEN, "AVRO")),
    "deleted": client.delete_subject("elsewhere-value"),
}
for name, value in told.items():
    print(json.dumps({"key": name, "value": value}), flush=True)
sys.stdin.read()
