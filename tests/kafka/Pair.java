// Two versions of a topology of Kafka Streams that pays cancelled flights back, as builds of a rehearsal. `old` keeps what it paid in a
// state store, with its changelog; `new` trusts that nothing is read twice. Both find the broker in their environment.
//
//   java -cp 'CLASSES:ARTIFACTS/*' Pair old|new at_least_once|exactly_once_v2 STATE

import java.time.Duration;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.processor.api.ContextualFixedKeyProcessor;
import org.apache.kafka.streams.processor.api.FixedKeyRecord;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

public class Pair {
    public static void main(String[] arguments) throws Exception {
        String version = arguments[0], guarantee = arguments[1], state = arguments[2];
        StreamsBuilder builder = new StreamsBuilder();
        KStream<String, String> cancelled =
            builder.<String, String>stream(System.getenv("REHEARSAL_TOPIC_FLIGHTS")).filter((flight, value) -> value.contains("\"cancelled\""));
        if (version.equals("old")) {
            builder.addStateStore(Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore("paid"), Serdes.String(), Serdes.String()));
            cancelled = cancelled.processValues(Once::new, "paid");
        }
        cancelled
            .map((flight, value) -> new org.apache.kafka.streams.KeyValue<>(flight, "{\"refund_id\":\"refund/" + flight + "\",\"amount\":17300}"))
            .to(System.getenv("REHEARSAL_TOPIC_REFUNDS"), Produced.with(Serdes.String(), Serdes.String()));
        Properties settings = new Properties();
        settings.put("application.id", System.getenv("REHEARSAL_GROUP"));
        settings.put("bootstrap.servers", System.getenv("KAFKA_BOOTSTRAP_SERVERS"));
        settings.put("processing.guarantee", guarantee);
        settings.put("state.dir", state);
        settings.put("commit.interval.ms", 100);
        // How soon a member learns that it was put out of its group.
        settings.put("heartbeat.interval.ms", 200);
        settings.put("default.key.serde", Serdes.String().getClass());
        settings.put("default.value.serde", Serdes.String().getClass());
        KafkaStreams streams = new KafkaStreams(builder.build(), settings);
        CountDownLatch stopped = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            streams.close(Duration.ofSeconds(3));
            stopped.countDown();
        }));
        streams.start();
        stopped.await();
    }

    static class Once extends ContextualFixedKeyProcessor<String, String, String> {
        @Override
        public void process(FixedKeyRecord<String, String> flight) {
            KeyValueStore<String, String> paid = context().getStateStore("paid");
            if (paid.putIfAbsent(flight.key(), "") == null) context().forward(flight);
        }
    }
}
