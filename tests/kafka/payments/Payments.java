// A service that pays passengers of late flights, and its next release, as builds of a rehearsal: a consumer group, a database of its own
// and an API that moves the money. Both find where these are in their environment, as a service of Spring does.
//
// `old` writes down which flights it has dealt with, in the transaction of the payment, and leaves those alone. `new` trusts that
// nothing is read twice. Either commits behind each hundred payments, and when there is nothing to do; told to end, it finishes the
// payment in hand and leaves the rest, with what it had paid since it last committed, to whoever is started next.
//
//   java -cp 'CLASSES:ARTIFACTS/*' Payments old|new

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.time.Duration;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.StringDeserializer;

public class Payments {
    static final int LATE_MINUTES = 15;
    static final int AMOUNT = 25_000;
    static final int COMMIT_EVERY = 100;

    record Payment(String flight_id, int amount) {}

    static volatile boolean ending;

    final HttpClient api = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(5)).version(HttpClient.Version.HTTP_1_1).build();
    final ObjectMapper json = new ObjectMapper();
    final Connection database;
    final boolean once;
    int paid;

    Payments(Connection database, boolean once) {
        this.database = database;
        this.once = once;
    }

    public static void main(String[] arguments) throws Exception {
        try (Connection database = DriverManager.getConnection(
                 System.getenv("SPRING_DATASOURCE_URL"), System.getenv("SPRING_DATASOURCE_USERNAME"), null);
             KafkaConsumer<String, String> consumer = new KafkaConsumer<>(
                 Map.of(
                     "bootstrap.servers", System.getenv("SPRING_KAFKA_BOOTSTRAP_SERVERS"),
                     "group.id", System.getenv("SPRING_KAFKA_CONSUMER_GROUP_ID"),
                     "enable.auto.commit", "false",
                     "auto.offset.reset", "earliest"),
                 new StringDeserializer(), new StringDeserializer())) {
            database.setAutoCommit(false);
            Thread main = Thread.currentThread();
            Runtime.getRuntime().addShutdownHook(new Thread(() -> {
                ending = true;
                consumer.wakeup();
                try {
                    main.join();
                } catch (InterruptedException interrupted) {
                    Thread.currentThread().interrupt();
                }
            }));
            new Payments(database, arguments[0].equals("old")).listen(consumer);
        }
    }

    void listen(KafkaConsumer<String, String> consumer) throws Exception {
        consumer.subscribe(List.of(System.getenv("FLIGHTS_TOPIC")), new ConsumerRebalanceListener() {
            public void onPartitionsRevoked(Collection<TopicPartition> partitions) {}

            // As a listener of Spring does: where it begins stands from the start.
            public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
                consumer.commitSync(partitions.stream().collect(
                    Collectors.toMap(partition -> partition, partition -> new OffsetAndMetadata(consumer.position(partition)))));
            }
        });
        try {
            while (!ending) {
                ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(200));
                for (ConsumerRecord<String, String> record : records) {
                    if (ending) return;
                    take(json.readTree(record.value()));
                }
                if (paid >= COMMIT_EVERY || records.isEmpty() && paid > 0) {
                    consumer.commitSync();
                    paid = 0;
                }
            }
        } catch (WakeupException told) {
            // To end: what is not committed is delivered again.
        }
    }

    void take(JsonNode event) throws Exception {
        if (event.path("arrival_delay_minutes").asInt() < LATE_MINUTES) return;
        String flight = event.get("flight_id").asText();
        if (!once || change("insert into handled (flight_id) values (?) on conflict do nothing", flight) == 1) {
            charge(flight);
            paid++;
            change("insert into payments (flight_id, amount) values (?, " + AMOUNT + ")", flight);
        }
        database.commit();
    }

    int change(String statement, String flight) throws SQLException {
        try (PreparedStatement prepared = database.prepareStatement(statement)) {
            prepared.setString(1, flight);
            return prepared.executeUpdate();
        }
    }

    void charge(String flight) throws IOException, InterruptedException {
        String body = json.writeValueAsString(new Payment(flight, AMOUNT));
        HttpRequest request = HttpRequest.newBuilder(URI.create(System.getenv("PAYMENT_API_URL") + "/v1/payments"))
            .timeout(Duration.ofSeconds(30))
            .header("Content-Type", "application/json")
            .header("Idempotency-Key", flight)
            .POST(HttpRequest.BodyPublishers.ofString(body))
            .build();
        HttpResponse<String> response = api.send(request, HttpResponse.BodyHandlers.ofString());
        if (response.statusCode() != 201) throw new IOException("the payment of " + flight + " is answered with " + response.statusCode());
    }
}
