"""aiokafka and kafka-python against a broker: what they do and see, one line each. Run against two brokers, the lines must be the same.

    python clients.py BROKERS NAME
"""

import asyncio
import sys

import kafka
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

BROKERS, NAME = sys.argv[1], sys.argv[2]


def topic(end):
    return f"{NAME}-{end}"


def shown(event):
    headers = [(name, value) for name, value in event.headers]
    return (event.partition, event.offset, event.timestamp, event.key, event.value, headers)


async def take(consumer, count):
    taken = []
    while len(taken) < count:
        batches = await asyncio.wait_for(consumer.getmany(timeout_ms=1000), 40)
        for events in batches.values():
            taken += events
    return taken


async def asynchronous():
    admin = AIOKafkaAdminClient(bootstrap_servers=BROKERS)
    await admin.start()
    await admin.create_topics([NewTopic(topic("async"), 2, 1), NewTopic(topic("out"), 1, 1)])
    # A topic that was just made is known a moment later.
    for _ in range(400):
        found = [len(one["partitions"]) for one in await admin.describe_topics([topic("async"), topic("out")])]
        if found == [2, 1]:
            break
        await asyncio.sleep(0.1)
    print("partitions", found)
    producer = AIOKafkaProducer(bootstrap_servers=BROKERS, enable_idempotence=True)
    await producer.start()
    for number in range(10):
        headers = [("b", b"1"), ("a", b""), ("b", b"2")]
        await producer.send_and_wait(
            topic("async"), b"v%d" % number, key=b"k%d" % number, partition=number % 2, timestamp_ms=1000 + number, headers=headers
        )
    await producer.stop()
    settings = {"bootstrap_servers": BROKERS, "group_id": topic("group"), "enable_auto_commit": False, "auto_offset_reset": "earliest"}
    consumer = AIOKafkaConsumer(topic("async"), **settings)
    await consumer.start()
    for line in sorted(map(shown, await take(consumer, 10))):
        print("event", line)
    await consumer.commit({TopicPartition(topic("async"), 0): 3, TopicPartition(topic("async"), 1): 4})
    await consumer.stop()
    one, two = (AIOKafkaConsumer(topic("async"), **settings) for _ in range(2))
    await one.start()
    await two.start()
    for _ in range(400):
        if len(one.assignment()) == 1 and len(two.assignment()) == 1:
            break
        await asyncio.sleep(0.1)
    print("shared", sorted(part.partition for part in one.assignment() | two.assignment()))
    rest = await take(one, 1) + await take(two, 1)
    print("rest", len(rest) >= 2)
    ends = await one.end_offsets([TopicPartition(topic("async"), 0)])
    print("ends", list(ends.values()))
    times = await one.offsets_for_times({TopicPartition(topic("async"), 0): 1003})
    print("times", [(found.offset, found.timestamp) for found in times.values()])
    await one.stop()
    await two.stop()
    transactional = AIOKafkaProducer(bootstrap_servers=BROKERS, transactional_id=topic("id"))
    await transactional.start()
    for number in range(4):
        await transactional.begin_transaction()
        await transactional.send_and_wait(topic("out"), b"t%d" % number)
        await transactional.send_offsets_to_transaction({TopicPartition(topic("async"), 0): number}, topic("group"))
        if number % 2:
            await transactional.abort_transaction()
        else:
            await transactional.commit_transaction()
    await transactional.stop()
    for level in ("read_committed", "read_uncommitted"):
        reader = AIOKafkaConsumer(topic("out"), bootstrap_servers=BROKERS, isolation_level=level, auto_offset_reset="earliest")
        await reader.start()
        print(level, [(event.offset, event.value) for event in await take(reader, 2 if level == "read_committed" else 4)])
        await reader.stop()
    groups = await admin.list_consumer_group_offsets(topic("group"))
    print("committed", sorted((part.partition, offset.offset) for part, offset in groups.items()))
    await admin.close()


def synchronous():
    admin = kafka.KafkaAdminClient(bootstrap_servers=BROKERS)
    admin.create_topics([kafka.admin.NewTopic(topic("sync"), 1, 1)])
    for codec in (None, "gzip"):
        producer = kafka.KafkaProducer(bootstrap_servers=BROKERS, compression_type=codec, linger_ms=20)
        for number in range(5):
            producer.send(topic("sync"), b"v%d" % number, partition=0, timestamp_ms=number + 1, headers=[("h", b"1"), ("h", b"")])
        producer.flush()
        producer.close()
    for _ in range(2):
        consumer = kafka.KafkaConsumer(
            topic("sync"),
            bootstrap_servers=BROKERS,
            group_id=topic("kp"),
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            consumer_timeout_ms=20000,
        )
        for _ in range(5):
            print("sync", shown(next(consumer)))
        consumer.commit()
        consumer.close()
    admin.delete_topics([topic("sync")])
    admin.close()


asyncio.run(asynchronous())
synchronous()
