// A topology of Kafka Streams with a state store, a repartition topic and a changelog, exactly once and not, ended in the middle and
// started again without its local state. Run against two brokers, the lines must be the same.
//
//   java -cp 'artifacts/*' Streams.java BROKERS NAME

import java.nio.file.Files;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.common.utils.Utils;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.state.KeyValueStore;

public class Streams {
    static final String[] WORDS = {"one", "two", "three", "two three", "three", "one one"};

    public static void main(String[] arguments) throws Exception {
        for (String guarantee : List.of("at_least_once", "exactly_once_v2")) {
            run(arguments[0], arguments[1] + "-" + guarantee, guarantee);
        }
    }

    static void run(String brokers, String name, String guarantee) throws Exception {
        String in = name + "-in", out = name + "-out";
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", brokers))) {
            admin.createTopics(List.of(new NewTopic(in, 2, (short) 1), new NewTopic(out, 2, (short) 1))).all().get();
            int words = 0;
            for (int round = 0; round < 2; round++) {
                words += produce(brokers, in, 60);
                java.nio.file.Path state = Files.createTempDirectory("streams");
                KafkaStreams streams = new KafkaStreams(topology(in, out).build(), settings(brokers, name, guarantee, state.toString()));
                streams.start();
                Map<String, Object> seen = read(brokers, out, words);
                System.out.println(guarantee + " " + round + ": " + seen);
                streams.close(Duration.ofSeconds(30));
                Utils.delete(state.toFile());
            }
            Map<String, String> inner = new TreeMap<>();
            for (String topic : new TreeSet<>(admin.listTopics().names().get())) {
                if (!topic.startsWith(name + "-count")) continue;
                ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
                int partitions = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size();
                String policy = admin.describeConfigs(List.of(resource)).all().get().get(resource).get("cleanup.policy").value();
                inner.put(topic.substring(name.length()), partitions + " " + policy);
            }
            System.out.println(guarantee + " topics: " + inner);
            Map<String, Long> committed = new TreeMap<>();
            admin.listConsumerGroupOffsets(name).partitionsToOffsetAndMetadata().get().forEach((partition, offset) -> {
                // With transactions, markers take offsets of the inner topics, as many as there were commits.
                if (partition.topic().equals(in)) committed.put(partition.toString().substring(name.length()), offset.offset());
            });
            System.out.println(guarantee + " committed: " + committed);
        }
    }

    static StreamsBuilder topology(String in, String out) {
        StreamsBuilder builder = new StreamsBuilder();
        Materialized<String, Long, KeyValueStore<Bytes, byte[]>> store = Materialized.as("count");
        builder.<String, String>stream(in)
            .flatMapValues(text -> Arrays.asList(text.split(" ")))
            .groupBy((key, word) -> word, Grouped.as("count"))
            .count(store.withKeySerde(Serdes.String()).withValueSerde(Serdes.Long()))
            .toStream()
            .mapValues(count -> Long.toString(count))
            .to(out, Produced.with(Serdes.String(), Serdes.String()));
        return builder;
    }

    static Properties settings(String brokers, String name, String guarantee, String state) {
        Properties properties = new Properties();
        properties.put("application.id", name);
        properties.put("bootstrap.servers", brokers);
        properties.put("processing.guarantee", guarantee);
        properties.put("state.dir", state);
        properties.put("num.stream.threads", 2);
        properties.put("statestore.cache.max.bytes", 0);
        properties.put("commit.interval.ms", 100);
        properties.put("auto.offset.reset", "earliest");
        // Streams do not leave their group as they close: those that come next wait until the others are taken for dead.
        properties.put("session.timeout.ms", 10_000);
        properties.put("heartbeat.interval.ms", 1_000);
        properties.put("default.key.serde", Serdes.String().getClass());
        properties.put("default.value.serde", Serdes.String().getClass());
        return properties;
    }

    static int produce(String brokers, String topic, int count) {
        int words = 0;
        Map<String, Object> settings = Map.of("bootstrap.servers", brokers);
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            for (int number = 0; number < count; number++) {
                String text = WORDS[number % WORDS.length];
                words += text.split(" ").length;
                producer.send(new ProducerRecord<>(topic, number % 2, "k" + number, text));
            }
        }
        return words;
    }

    // Every update of every word, as those see it who read committed: so many, and the last of each.
    static Map<String, Object> read(String brokers, String topic, int count) {
        Map<String, Object> settings =
            Map.of("bootstrap.servers", brokers, "isolation.level", "read_committed", "auto.offset.reset", "earliest");
        List<ConsumerRecord<String, String>> taken = new ArrayList<>();
        try (KafkaConsumer<String, String> reader = new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer())) {
            List<TopicPartition> all = List.of(new TopicPartition(topic, 0), new TopicPartition(topic, 1));
            reader.assign(all);
            reader.seekToBeginning(all);
            long end = System.nanoTime() + 60_000_000_000L;
            while (taken.size() < count) {
                if (System.nanoTime() > end) throw new IllegalStateException("only " + taken.size() + " of " + count);
                reader.poll(Duration.ofMillis(100)).forEach(taken::add);
            }
        }
        Map<String, Object> seen = new TreeMap<>();
        for (ConsumerRecord<String, String> event : taken) seen.put(event.key(), event.value());
        seen.put("updates", taken.size());
        return seen;
    }
}
