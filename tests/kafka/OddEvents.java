// Writes every odd event there is with Java's own client, one batch a codec, and prints what was sent: one JSON object a line.
//
//   java -cp 'artifacts/*' OddEvents.java BROKERS TOPIC

import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Properties;
import java.util.Random;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.message.ProduceRequestData;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.record.MemoryRecords;
import org.apache.kafka.common.record.SimpleRecord;
import org.apache.kafka.common.requests.ProduceRequest;
import org.apache.kafka.common.requests.RequestHeader;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public class OddEvents {
    static final byte[][] BYTES = {null, {}, "plain".getBytes(StandardCharsets.UTF_8), {0, -1, -2, 10, 13, 34, 92}};
    static final long[] TIMES = {0, 1, 1_357_035_420_000L, 253_402_300_799_999L};

    public static void main(String[] arguments) throws Exception {
        String brokers = arguments[0];
        String topic = arguments[1];
        for (String codec : new String[] {"none", "gzip", "snappy", "lz4", "zstd"}) {
            Properties properties = new Properties();
            properties.put("bootstrap.servers", brokers);
            properties.put("compression.type", codec);
            properties.put("linger.ms", "100");
            properties.put("batch.size", "1048576");
            properties.put("max.request.size", "4194304");
            try (KafkaProducer<byte[], byte[]> producer =
                    new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer())) {
                send(producer, topic);
            }
        }
        withoutTimestamp(brokers.split(",")[0], topic);
    }

    static void send(KafkaProducer<byte[], byte[]> producer, String topic) throws Exception {
        List<ProducerRecord<byte[], byte[]>> events = new ArrayList<>();
        int number = 0;
        for (byte[] key : BYTES) {
            for (byte[] value : BYTES) {
                for (List<Header> headers : headers()) {
                    events.add(new ProducerRecord<>(topic, 0, TIMES[(number++ * 7 / 3) % TIMES.length], key, value, headers));
                }
            }
        }
        byte[] noise = new byte[1 << 20];
        new Random(7).nextBytes(noise);
        events.add(new ProducerRecord<>(topic, 0, 5L, "noise".getBytes(StandardCharsets.UTF_8), noise));
        events.add(new ProducerRecord<>(topic, 0, 5L, "zeros".getBytes(StandardCharsets.UTF_8), new byte[1 << 20]));
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (ProducerRecord<byte[], byte[]> event : events) {
            sent.add(producer.send(event));
        }
        for (int at = 0; at < events.size(); at++) {
            RecordMetadata where = sent.get(at).get();
            ProducerRecord<byte[], byte[]> event = events.get(at);
            print(where.offset(), where.timestamp(), event.key(), event.value(), event.headers().toArray());
        }
    }

    static List<List<Header>> headers() {
        byte[] text = "x".getBytes(StandardCharsets.UTF_8);
        return List.of(
            List.of(),
            List.of(new RecordHeader("a", (byte[]) null), new RecordHeader("a", new byte[0]), new RecordHeader("a", text)),
            List.of(new RecordHeader("b", text), new RecordHeader("a", text), new RecordHeader("b", BYTES[3])),
            List.of(new RecordHeader("", text), new RecordHeader("\u00e4\u20ac\ud83d\ude00", text)));
    }

    // The client refuses a timestamp of -1, which Kafka's protocol has for "none": it goes over the wire by hand.
    static void withoutTimestamp(String broker, String topic) throws Exception {
        byte[] value = "no time".getBytes(StandardCharsets.UTF_8);
        MemoryRecords records = MemoryRecords.withRecords(Compression.NONE, new SimpleRecord(-1L, null, value));
        ProduceRequestData.PartitionProduceData partition =
            new ProduceRequestData.PartitionProduceData().setIndex(0).setRecords(records);
        ProduceRequestData.TopicProduceData topicData =
            new ProduceRequestData.TopicProduceData().setName(topic).setPartitionData(List.of(partition));
        ProduceRequestData.TopicProduceDataCollection topics =
            new ProduceRequestData.TopicProduceDataCollection(List.of(topicData).iterator());
        ProduceRequestData data = new ProduceRequestData().setAcks((short) -1).setTimeoutMs(10_000).setTopicData(topics);
        short version = 9;
        ProduceRequest request = new ProduceRequest.Builder(version, version, data).build(version);
        ByteBuffer bytes = request.serializeWithHeader(new RequestHeader(ApiKeys.PRODUCE, version, "odd", 1));
        String[] address = broker.split(":");
        try (Socket socket = new Socket(address[0], Integer.parseInt(address[1]))) {
            DataOutputStream out = new DataOutputStream(socket.getOutputStream());
            out.writeInt(bytes.remaining());
            out.write(bytes.array(), bytes.arrayOffset() + bytes.position(), bytes.remaining());
            out.flush();
            DataInputStream in = new DataInputStream(socket.getInputStream());
            byte[] answer = new byte[in.readInt()];
            in.readFully(answer);
            // Correlation, tags, number of topics, name, number of partitions, partition; then error, offset and append time.
            ByteBuffer read = ByteBuffer.wrap(answer, 4 + 1 + 1 + 1 + topic.length() + 1 + 4, 2 + 8 + 8);
            short error = read.getShort();
            if (error != 0) throw new IllegalStateException("the broker refused it: error " + error);
            long offset = read.getLong();
            long appended = read.getLong();
            print(offset, appended, null, value, new Header[0]);
        }
    }

    static void print(long offset, long timestamp, byte[] key, byte[] value, Header[] headers) {
        StringBuilder list = new StringBuilder();
        for (Header header : headers) {
            String name = text(header.key().getBytes(StandardCharsets.UTF_8));
            list.append(list.length() == 0 ? "[" : ",[").append(name).append(",").append(text(header.value())).append("]");
        }
        System.out.println("{\"offset\":" + offset + ",\"timestamp\":" + timestamp + ",\"key\":" + text(key) + ",\"value\":"
            + text(value) + ",\"headers\":[" + list + "]}");
    }

    static String text(byte[] bytes) {
        return bytes == null ? "null" : "\"" + Base64.getEncoder().encodeToString(bytes) + "\"";
    }
}
