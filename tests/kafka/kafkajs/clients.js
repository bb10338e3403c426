// kafkajs against a broker: what it does and sees, one line each. Run against two brokers, the lines must be the same.
//
//   node clients.js BROKERS NAME

const { CompressionTypes, ConfigResourceTypes, Kafka, logLevel } = require("kafkajs");

const [brokers, name] = process.argv.slice(2);
const kafka = new Kafka({
  clientId: "kafkajs",
  brokers: brokers.split(","),
  logLevel: logLevel.NOTHING,
  retry: { initialRetryTime: 50, retries: 12 },
});
const topic = (end) => `${name}-${end}`;
const say = (what, seen) => console.log(`${what}: ${JSON.stringify(seen).replaceAll(name, "NAME")}`);
const shown = ({ partition, message }) => ({
  partition,
  offset: message.offset,
  timestamp: message.timestamp,
  key: message.key && message.key.toString(),
  value: message.value && message.value.toString(),
  headers: Object.entries(message.headers).map(([key, value]) => [key, String(value)]),
});
const byPlace = (one, other) => one.partition - other.partition || Number(one.offset) - Number(other.offset);

// Bounds every wait.
const bounded = (what, promise) => {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} takes too long`)), 60_000);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
};

// Takes so many events as a member of a group, and commits what it has seen.
async function taken(group, settings, from, count) {
  const consumer = kafka.consumer({ groupId: topic(group), heartbeatInterval: 500, maxWaitTimeInMs: 200, ...settings });
  await consumer.connect();
  await consumer.subscribe({ topic: from, fromBeginning: true });
  const seen = [];
  await bounded(
    `group ${group}`,
    new Promise((resolve, reject) => {
      const eachMessage = async (event) => {
        seen.push(shown(event));
        if (seen.length === count) resolve();
      };
      consumer.run({ autoCommit: true, autoCommitThreshold: 1, eachMessage }).catch(reject);
    }),
  );
  await consumer.disconnect();
  return seen.sort(byPlace);
}

async function topics(admin) {
  const wanted = [
    { topic: topic("events"), numPartitions: 2, configEntries: [{ name: "cleanup.policy", value: "compact,delete" }] },
    { topic: topic("out"), numPartitions: 1 },
  ];
  say("created", await admin.createTopics({ waitForLeaders: true, topics: wanted }));
  say("created again", await admin.createTopics({ topics: wanted }));
  const { topics: found } = await admin.fetchTopicMetadata({ topics: [topic("events")] });
  say("partitions", found[0].partitions.map((one) => [one.partitionId, one.leader, one.partitionErrorCode]).sort());
  const resources = [{ type: ConfigResourceTypes.TOPIC, name: topic("events"), configNames: ["cleanup.policy"] }];
  const { resources: configs } = await admin.describeConfigs({ resources, includeSynonyms: false });
  say("settings", configs[0].configEntries.map((one) => [one.configName, one.configValue]));
}

async function events() {
  for (const compression of [CompressionTypes.None, CompressionTypes.GZIP]) {
    const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 });
    await producer.connect();
    for (let number = 0; number < 6; number += 1) {
      const headers = { a: "1", b: ["2", "3"], c: "" };
      const message = { partition: number % 2, key: `k${number}`, value: `v${number}`, timestamp: String(1000 + number), headers };
      const [sent] = await producer.send({ topic: topic("events"), acks: -1, compression, messages: [message] });
      say("sent", [sent.partition, sent.errorCode, sent.baseOffset]);
    }
    await producer.disconnect();
  }
}

async function groups(admin) {
  for (const event of await taken("group", {}, topic("events"), 12)) say("event", event);
  const committed = async () => {
    const [found] = await admin.fetchOffsets({ groupId: topic("group"), topics: [topic("events")] });
    return found.partitions.map((one) => [one.partition, one.offset]).sort();
  };
  say("committed", await committed());
  const { groups: described } = await admin.describeGroups([topic("group")]);
  say("group", described.map((one) => [one.errorCode, one.state, one.members.length]));
  await admin.setOffsets({ groupId: topic("group"), topic: topic("events"), partitions: [{ partition: 1, offset: "4" }] });
  say("set back", await committed());
  say("rest", await taken("group", {}, topic("events"), 2));
  const offsets = await admin.fetchTopicOffsets(topic("events"));
  say("offsets", offsets.map((one) => [one.partition, one.low, one.high]).sort());
  const byTime = await admin.fetchTopicOffsetsByTimestamp(topic("events"), 1003);
  say("by time", byTime.map((one) => [one.partition, one.offset]).sort());
  say("deleted group", await admin.deleteGroups([topic("group")]));
}

async function transactions() {
  const producer = kafka.producer({ transactionalId: topic("id"), maxInFlightRequests: 1, idempotent: true });
  await producer.connect();
  for (let round = 0; round < 4; round += 1) {
    const transaction = await producer.transaction();
    await transaction.send({ topic: topic("out"), messages: [{ value: `t${round}` }] });
    const partitions = [{ partition: 0, offset: String(round) }];
    await transaction.sendOffsets({ consumerGroupId: topic("eos"), topics: [{ topic: topic("events"), partitions }] });
    await (round % 2 ? transaction.abort() : transaction.commit());
  }
  await producer.disconnect();
  say("read committed", (await taken("read", {}, topic("out"), 2)).map((one) => [one.offset, one.value]));
  say("read all", (await taken("all", { readUncommitted: true }, topic("out"), 4)).map((one) => [one.offset, one.value]));
}

async function main() {
  const admin = kafka.admin();
  await admin.connect();
  await topics(admin);
  await events();
  await groups(admin);
  await transactions();
  const [eos] = await admin.fetchOffsets({ groupId: topic("eos"), topics: [topic("events")] });
  say("sent with transactions", eos.partitions.map((one) => [one.partition, one.offset]).sort());
  await admin.deleteTopics({ topics: [topic("events"), topic("out")] });
  await admin.disconnect();
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
