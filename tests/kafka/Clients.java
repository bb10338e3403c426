// Java's own clients against a broker: what they do and see, one line each. Run against two brokers, the lines must be the same.
//
//   java -cp 'artifacts/*' Clients.java BROKERS NAME

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ExecutionException;
import java.util.function.BooleanSupplier;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public class Clients {
    static String brokers;
    static String name;

    interface Work {
        Object run() throws Exception;
    }

    public static void main(String[] arguments) throws Exception {
        brokers = arguments[0];
        name = arguments[1];
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", brokers))) {
            topics(admin);
            events(admin);
            groups(admin);
            staticMembers();
            ownProtocol(admin);
            transactions(admin);
            deletions(admin);
        }
    }

    static void say(String what, Object seen) {
        System.out.println(what + ": " + String.valueOf(seen).replace(name, "NAME"));
    }

    // What a call returns, or the class of what it throws.
    static Object tried(Work work) {
        try {
            return work.run();
        } catch (ExecutionException error) {
            return error.getCause().getClass().getSimpleName();
        } catch (Exception error) {
            return error.getClass().getSimpleName();
        }
    }

    static String topic(String end) {
        return name + "-" + end;
    }

    static void topics(Admin admin) throws Exception {
        NewTopic topic = new NewTopic(topic("events"), 3, (short) 1).configs(Map.of("cleanup.policy", "compact,delete"));
        say("create", tried(() -> admin.createTopics(List.of(topic)).config(topic("events")).get().get("cleanup.policy").value()));
        say("create again", tried(() -> admin.createTopics(List.of(topic)).all().get()));
        say("create badly", tried(() -> admin.createTopics(List.of(new NewTopic("a b", 1, (short) 1))).all().get()));
        say("create copies", tried(() -> admin.createTopics(List.of(new NewTopic(topic("x"), 1, (short) 3))).all().get()));
        say("grow", tried(() -> admin.createPartitions(Map.of(topic("events"), NewPartitions.increaseTo(4))).all().get()));
        say("shrink", tried(() -> admin.createPartitions(Map.of(topic("events"), NewPartitions.increaseTo(2))).all().get()));
        say("partitions", admin.describeTopics(List.of(topic("events"))).allTopicNames().get().get(topic("events")).partitions().size());
        say("listed", admin.listTopics().names().get().contains(topic("events")));
        say("missing", tried(() -> admin.describeTopics(List.of(topic("missing"))).allTopicNames().get()));
        say("nodes", admin.describeCluster().nodes().get().size());
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic("events"));
        for (AlterConfigOp.OpType type : List.of(AlterConfigOp.OpType.SET, AlterConfigOp.OpType.DELETE)) {
            AlterConfigOp change = new AlterConfigOp(new ConfigEntry("retention.ms", "100000"), type);
            say("alter", tried(() -> admin.incrementalAlterConfigs(Map.of(resource, List.of(change))).all().get()));
            ConfigEntry entry = admin.describeConfigs(List.of(resource)).all().get().get(resource).get("retention.ms");
            // Apache Kafka's own default is set otherwise for tests.
            if (type == AlterConfigOp.OpType.SET) say("altered", entry.value() + " " + entry.source());
        }
        AlterConfigOp wrong = new AlterConfigOp(new ConfigEntry("retention.ms", "soon"), AlterConfigOp.OpType.SET);
        say("alter badly", tried(() -> admin.incrementalAlterConfigs(Map.of(resource, List.of(wrong))).all().get()));
    }

    static Properties properties(String... pairs) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", brokers);
        for (int at = 0; at < pairs.length; at += 2) properties.put(pairs[at], pairs[at + 1]);
        return properties;
    }

    static KafkaProducer<String, String> producer(String... pairs) {
        return new KafkaProducer<>(properties(pairs), new StringSerializer(), new StringSerializer());
    }

    static KafkaConsumer<String, String> consumer(String group, String... pairs) {
        Properties properties = properties(pairs);
        properties.put("group.id", topic(group));
        properties.put("enable.auto.commit", "false");
        properties.putIfAbsent("auto.offset.reset", "earliest");
        properties.put("session.timeout.ms", "10000");
        properties.put("heartbeat.interval.ms", "500");
        // Whoever loses the only broker there is would forget all topics, and have its group join again where it leads.
        properties.put("metadata.recovery.strategy", "none");
        return new KafkaConsumer<>(properties, new StringDeserializer(), new StringDeserializer());
    }

    static List<ConsumerRecord<String, String>> take(KafkaConsumer<String, String> consumer, int count) {
        List<ConsumerRecord<String, String>> taken = new ArrayList<>();
        poll(() -> taken.size() >= count, List.of(consumer), taken);
        return taken;
    }

    static void poll(
            BooleanSupplier done, Collection<KafkaConsumer<String, String>> consumers, List<ConsumerRecord<String, String>> taken) {
        long end = System.nanoTime() + 40_000_000_000L;
        while (!done.getAsBoolean()) {
            if (System.nanoTime() > end) throw new IllegalStateException("what is waited for does not come: " + taken);
            for (KafkaConsumer<String, String> consumer : consumers) consumer.poll(Duration.ofMillis(50)).forEach(taken::add);
        }
    }

    // Polls until all are in one generation, and have been for two seconds.
    static void settle(List<KafkaConsumer<String, String>> consumers, List<ConsumerRecord<String, String>> taken) {
        List<Integer> before, after;
        do {
            before = consumers.stream().map(consumer -> consumer.groupMetadata().generationId()).toList();
            long quiet = System.nanoTime() + 2_000_000_000L;
            poll(() -> System.nanoTime() > quiet, consumers, taken);
            after = consumers.stream().map(consumer -> consumer.groupMetadata().generationId()).toList();
        } while (!before.equals(after) || after.stream().distinct().count() > 1);
    }

    static String values(List<ConsumerRecord<String, String>> events) {
        Map<String, List<String>> byPartition = new TreeMap<>();
        for (ConsumerRecord<String, String> event : events) {
            byPartition.computeIfAbsent(event.topic() + "/" + event.partition(), key -> new ArrayList<>())
                .add(event.offset() + "=" + event.key() + ":" + event.value());
        }
        return byPartition.toString();
    }

    static void events(Admin admin) throws Exception {
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            try (KafkaProducer<String, String> producer = producer("compression.type", codec, "linger.ms", "20")) {
                for (int number = 0; number < 20; number++) {
                    ProducerRecord<String, String> event =
                        new ProducerRecord<>(topic("events"), number % 4, 1000L + number, "k" + number, codec + number);
                    event.headers().add("b", new byte[] {1}).add("a", null).add("b", new byte[0]);
                    producer.send(event);
                }
            }
        }
        try (KafkaConsumer<String, String> consumer = consumer("reader")) {
            List<TopicPartition> all = new ArrayList<>();
            for (int partition = 0; partition < 4; partition++) all.add(new TopicPartition(topic("events"), partition));
            consumer.assign(all);
            consumer.seekToBeginning(all);
            List<ConsumerRecord<String, String>> events = take(consumer, 100);
            say("events", values(events));
            StringBuilder headers = new StringBuilder();
            for (Header header : events.get(0).headers()) {
                headers.append(header.key()).append(header.value() == null ? "null" : header.value().length);
            }
            say("headers", headers);
            say("ends", new TreeMap<>(ends(consumer.endOffsets(all))));
            Map<TopicPartition, Long> times = new HashMap<>();
            for (TopicPartition partition : all) times.put(partition, 1010L);
            Map<String, String> found = new TreeMap<>();
            consumer.offsetsForTimes(times).forEach((key, value) -> found.put(key.toString(), String.valueOf(value)));
            say("by time", found);
            consumer.seek(all.get(0), 7);
            say("position", consumer.position(all.get(0)));
        }
        for (OffsetSpec spec : List.of(OffsetSpec.earliest(), OffsetSpec.latest(), OffsetSpec.maxTimestamp(), OffsetSpec.forTimestamp(1009L))) {
            say(spec.getClass().getSimpleName(), admin.listOffsets(Map.of(new TopicPartition(topic("events"), 1), spec))
                .all().get().values().iterator().next().offset());
        }
        try (KafkaProducer<String, String> producer = producer()) {
            say("no key", tried(() -> producer.send(new ProducerRecord<>(topic("events"), "x")).get()));
        }
    }

    static Map<String, Long> ends(Map<TopicPartition, Long> offsets) {
        Map<String, Long> ends = new HashMap<>();
        offsets.forEach((key, value) -> ends.put(key.toString(), value));
        return ends;
    }

    static void groups(Admin admin) throws Exception {
        for (String assignor : List.of("RangeAssignor", "CooperativeStickyAssignor")) {
            String strategy = "org.apache.kafka.clients.consumer." + assignor;
            KafkaConsumer<String, String> one = consumer(assignor, "partition.assignment.strategy", strategy, "client.id", "one");
            KafkaConsumer<String, String> two = consumer(assignor, "partition.assignment.strategy", strategy, "client.id", "two");
            List<ConsumerRecord<String, String>> taken = new ArrayList<>();
            one.subscribe(List.of(topic("events")));
            poll(() -> taken.size() >= 100, List.of(one), taken);
            one.commitSync();
            two.subscribe(List.of(topic("events")));
            poll(() -> one.assignment().size() == 2 && two.assignment().size() == 2, List.of(one, two), taken);
            Set<String> both = new TreeSet<>();
            one.assignment().forEach(partition -> both.add(partition.toString()));
            two.assignment().forEach(partition -> both.add(partition.toString()));
            say(assignor, both + " " + taken.size());
            say("state", admin.describeConsumerGroups(List.of(topic(assignor))).all().get().get(topic(assignor)).groupState());
            one.close();
            poll(() -> two.assignment().size() == 4, List.of(two), taken);
            say("taken over", taken.size());
            two.close();
            Map<String, Long> committed = new TreeMap<>();
            admin.listConsumerGroupOffsets(topic(assignor)).partitionsToOffsetAndMetadata().get()
                .forEach((key, value) -> committed.put(key.toString(), value.offset()));
            say("committed", committed);
        }
        String group = topic("RangeAssignor");
        Map<TopicPartition, OffsetAndMetadata> back = Map.of(new TopicPartition(topic("events"), 2), new OffsetAndMetadata(3));
        say("set back", tried(() -> admin.alterConsumerGroupOffsets(group, back).all().get()));
        KafkaConsumer<String, String> again = consumer("RangeAssignor", "group.instance.id", "static");
        again.subscribe(List.of(topic("events")));
        say("read again", values(take(again, 22)).length());
        say("delete while used", tried(() -> admin.deleteConsumerGroups(List.of(group)).all().get()));
        say("delete offsets while used", tried(() ->
            admin.deleteConsumerGroupOffsets(group, Set.of(new TopicPartition(topic("events"), 0))).all().get()));
        again.close();
        say("static member stays", admin.describeConsumerGroups(List.of(group)).all().get().get(group).members().size());
        say("remove static member", tried(() -> admin.removeMembersFromConsumerGroup(group,
            new org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions(
                List.of(new org.apache.kafka.clients.admin.MemberToRemove("static")))).all().get()));
        say("delete", tried(() -> admin.deleteConsumerGroups(List.of(group)).all().get()));
        say("delete again", tried(() -> admin.deleteConsumerGroups(List.of(group)).all().get()));
        say("describe what is gone", tried(() -> admin.describeConsumerGroups(List.of(group)).all().get()));
    }

    // One of two is closed, which static members do without a word, and comes back: the other goes on in the same generation.
    static void staticMembers() {
        String strategy = "org.apache.kafka.clients.consumer.CooperativeStickyAssignor";
        List<KafkaConsumer<String, String>> both = new ArrayList<>();
        for (String instance : List.of("one", "two")) {
            both.add(consumer("static", "partition.assignment.strategy", strategy, "group.instance.id", instance));
            both.forEach(consumer -> consumer.subscribe(List.of(topic("events"))));
        }
        List<ConsumerRecord<String, String>> taken = new ArrayList<>();
        poll(() -> both.stream().allMatch(one -> one.assignment().size() == 2), both, taken);
        // The assignor shares in two steps: the second is over once both are in one generation and nothing moves.
        settle(both, taken);
        Set<TopicPartition> had = both.get(0).assignment();
        int generation = both.get(1).groupMetadata().generationId();
        both.remove(0).close();
        both.add(0, consumer("static", "partition.assignment.strategy", strategy, "group.instance.id", "one"));
        both.get(0).subscribe(List.of(topic("events")));
        poll(() -> both.get(0).assignment().size() == 2, both, taken);
        settle(both, taken);
        say("static member has what it had", both.get(0).assignment().equals(had));
        say("static member rebalances", both.get(1).groupMetadata().generationId() - generation);
        both.forEach(KafkaConsumer::close);
    }

    static KafkaConsumer<String, String> ownConsumer(String group, String... pairs) {
        Properties properties = properties(pairs);
        properties.put("group.id", topic(group));
        properties.put("group.protocol", "consumer");
        properties.put("enable.auto.commit", "false");
        properties.put("auto.offset.reset", "earliest");
        return new KafkaConsumer<>(properties, new StringDeserializer(), new StringDeserializer());
    }

    // Groups whose partitions the broker shares (KIP-848).
    static void ownProtocol(Admin admin) throws Exception {
        for (String assignor : List.of("uniform", "range")) {
            String group = "own-" + assignor;
            KafkaConsumer<String, String> one = ownConsumer(group, "group.remote.assignor", assignor, "client.id", "one");
            KafkaConsumer<String, String> two = ownConsumer(group, "group.remote.assignor", assignor, "client.id", "two");
            List<ConsumerRecord<String, String>> taken = new ArrayList<>();
            one.subscribe(List.of(topic("events")));
            poll(() -> taken.size() >= 100, List.of(one), taken);
            one.commitSync();
            two.subscribe(new SubscriptionPattern(topic("even.*")));
            poll(() -> one.assignment().size() == 2 && two.assignment().size() == 2, List.of(one, two), taken);
            Set<String> both = new TreeSet<>();
            one.assignment().forEach(partition -> both.add(partition.toString()));
            two.assignment().forEach(partition -> both.add(partition.toString()));
            say(group, both + " " + taken.size());
            ConsumerGroupDescription described = admin.describeConsumerGroups(List.of(topic(group))).all().get().get(topic(group));
            say("described", described.type() + " " + described.groupState() + " " + described.partitionAssignor() + " "
                + described.members().size() + " " + described.groupEpoch().equals(described.targetAssignmentEpoch()));
            say("delete while used", tried(() -> admin.deleteConsumerGroups(List.of(topic(group))).all().get()));
            one.close();
            poll(() -> two.assignment().size() == 4, List.of(two), taken);
            two.close();
            say("taken over", taken.size());
            // Nobody may be in a group that changes its protocol, and the word of one that leaves may be lost.
            poll(() -> isEmpty(admin, topic(group)), List.of(), taken);
            // What was committed stands, whichever way the next comes.
            Map<TopicPartition, OffsetAndMetadata> back = Map.of(new TopicPartition(topic("events"), 2), new OffsetAndMetadata(3));
            say("set back", tried(() -> admin.alterConsumerGroupOffsets(topic(group), back).all().get()));
            try (KafkaConsumer<String, String> classic = consumer(group)) {
                classic.subscribe(List.of(topic("events")));
                say("read by the classic protocol", values(take(classic, 22)).length());
                classic.commitSync();
            }
            poll(() -> isEmpty(admin, topic(group)), List.of(), taken);
            try (KafkaConsumer<String, String> again = ownConsumer(group)) {
                again.subscribe(List.of(topic("events")));
                poll(() -> again.assignment().size() == 4, List.of(again), taken);
                Map<String, Long> positions = new TreeMap<>();
                again.assignment().forEach(partition -> positions.put(partition.toString(), again.position(partition)));
                say("goes on", positions);
            }
        }
        ownStaticMembers();
        ownTransactions();
    }

    static boolean isEmpty(Admin admin, String group) {
        return tried(() -> admin.describeConsumerGroups(List.of(group)).all().get().get(group).members().isEmpty()).equals(true);
    }

    // One of two is closed and comes back under its name: the other keeps what it has.
    static void ownStaticMembers() {
        KafkaConsumer<String, String> one = ownConsumer("own-static", "group.instance.id", "one");
        KafkaConsumer<String, String> two = ownConsumer("own-static", "group.instance.id", "two");
        List<ConsumerRecord<String, String>> taken = new ArrayList<>();
        List.of(one, two).forEach(consumer -> consumer.subscribe(List.of(topic("events"))));
        poll(() -> one.assignment().size() == 2 && two.assignment().size() == 2, List.of(one, two), taken);
        settle(List.of(one, two), taken);
        Set<TopicPartition> had = Set.copyOf(one.assignment()), others = Set.copyOf(two.assignment());
        int epoch = two.groupMetadata().generationId();
        one.close();
        KafkaConsumer<String, String> back = ownConsumer("own-static", "group.instance.id", "one");
        back.subscribe(List.of(topic("events")));
        poll(() -> back.assignment().size() == 2, List.of(back, two), taken);
        settle(List.of(back, two), taken);
        say("static consumer has what it had", back.assignment().equals(had) + " " + two.assignment().equals(others));
        say("static consumer moves the epoch by", two.groupMetadata().generationId() - epoch);
        back.close();
        two.close();
    }

    static void ownTransactions() throws Exception {
        KafkaConsumer<String, String> input = ownConsumer("own-eos", "isolation.level", "read_committed");
        input.subscribe(List.of(topic("events")));
        take(input, 100);
        KafkaProducer<String, String> producer = producer("transactional.id", topic("own-id"));
        producer.initTransactions();
        Set<TopicPartition> first = Set.of(new TopicPartition(topic("events"), 0));
        for (int round = 0; round < 2; round++) {
            producer.beginTransaction();
            Map<TopicPartition, OffsetAndMetadata> offsets = Map.of(first.iterator().next(), new OffsetAndMetadata(5 + round));
            producer.sendOffsetsToTransaction(offsets, input.groupMetadata());
            if (round == 0) producer.commitTransaction(); else producer.abortTransaction();
            say("sent with transactions", input.committed(first).values());
        }
        producer.close();
        input.close();
    }

    static void transactions(Admin admin) throws Exception {
        admin.createTopics(List.of(new NewTopic(topic("out"), 1, (short) 1))).all().get();
        KafkaConsumer<String, String> input = consumer("eos", "isolation.level", "read_committed");
        input.subscribe(List.of(topic("events")));
        List<ConsumerRecord<String, String>> events = take(input, 100);
        KafkaProducer<String, String> producer = producer("transactional.id", topic("id"));
        producer.initTransactions();
        for (int round = 0; round < 4; round++) {
            producer.beginTransaction();
            for (int at = round * 10; at < round * 10 + 10; at++) {
                producer.send(new ProducerRecord<>(topic("out"), events.get(at).key(), "round " + round));
            }
            Map<TopicPartition, OffsetAndMetadata> offsets =
                Map.of(new TopicPartition(topic("events"), 0), new OffsetAndMetadata(5 + round));
            producer.sendOffsetsToTransaction(offsets, input.groupMetadata());
            // What was not sent yet would not be sent at all where a transaction is aborted.
            producer.flush();
            if (round % 2 == 0) producer.commitTransaction(); else producer.abortTransaction();
            say("committed", input.committed(Set.of(new TopicPartition(topic("events"), 0))).values());
        }
        for (String level : List.of("read_committed", "read_uncommitted")) {
            try (KafkaConsumer<String, String> reader = consumer("none", "isolation.level", level)) {
                TopicPartition out = new TopicPartition(topic("out"), 0);
                reader.assign(List.of(out));
                reader.seekToBeginning(List.of(out));
                List<ConsumerRecord<String, String>> read = take(reader, level.equals("read_committed") ? 20 : 40);
                say(level, read.size() + " " + read.get(10).value() + " " + read.get(10).offset() + " " + reader.endOffsets(List.of(out)));
            }
        }
        producer.beginTransaction();
        producer.send(new ProducerRecord<>(topic("out"), "k", "lost")).get();
        KafkaProducer<String, String> younger = producer("transactional.id", topic("id"));
        younger.initTransactions();
        say("fenced", tried(() -> {
            producer.commitTransaction();
            return "committed";
        }));
        younger.beginTransaction();
        younger.send(new ProducerRecord<>(topic("out"), "k", "kept"));
        younger.commitTransaction();
        younger.close();
        try {
            producer.close(Duration.ofSeconds(1));
        } catch (KafkaException ended) {
            say("closed", ended.getClass().getSimpleName());
        }
        input.close();
    }

    static void deletions(Admin admin) throws Exception {
        TopicPartition out = new TopicPartition(topic("out"), 0);
        say("cut", tried(() -> admin.deleteRecords(Map.of(out, RecordsToDelete.beforeOffset(5))).lowWatermarks().get(out).get().lowWatermark()));
        say("cut too far", tried(() -> admin.deleteRecords(Map.of(out, RecordsToDelete.beforeOffset(5000))).all().get()));
        say("begins", admin.listOffsets(Map.of(out, OffsetSpec.earliest())).all().get().get(out).offset());
        say("delete", tried(() -> admin.deleteTopics(List.of(topic("out"), topic("events"))).all().get()));
        say("delete again", tried(() -> admin.deleteTopics(List.of(topic("out"))).all().get()));
    }
}
