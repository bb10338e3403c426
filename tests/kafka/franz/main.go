// franz-go against a broker: what it does and sees, one line each. Run against two brokers, the lines must be the same.
//
//	clients BROKERS NAME
package main

import (
	"context"
	"fmt"
	"os"
	"sort"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	brokers, name := os.Args[1], os.Args[2]
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	topic := name + "-go"
	// It asks anew who leads after seconds only, unless told otherwise.
	first := []kgo.Opt{kgo.SeedBrokers(brokers), kgo.MetadataMinAge(50 * time.Millisecond)}
	base := func(more ...kgo.Opt) *kgo.Client {
		client, err := kgo.NewClient(append(first, more...)...)
		must(err)
		return client
	}
	admin := kadm.NewClient(base())
	_, err := admin.CreateTopics(ctx, 2, 1, nil, topic, topic+"-out")
	must(err)
	for _, codec := range []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()} {
		producer := base(kgo.ProducerBatchCompression(codec), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		for i := 0; i < 10; i++ {
			r := &kgo.Record{Topic: topic, Partition: int32(i % 2), Key: []byte(fmt.Sprint("k", i)), Value: []byte(fmt.Sprint("v", i)), Timestamp: time.UnixMilli(int64(1000 + i)),
				Headers: []kgo.RecordHeader{{Key: "b", Value: []byte("1")}, {Key: "a"}, {Key: "b", Value: []byte{}}}}
			must(producer.ProduceSync(ctx, r).FirstErr())
		}
		producer.Close()
	}
	take := func(c *kgo.Client, n int) (all []string) {
		for len(all) < n {
			f := c.PollFetches(ctx)
			must(f.Err())
			f.EachRecord(func(r *kgo.Record) {
				all = append(all, fmt.Sprint(r.Partition, " ", r.Offset, " ", string(r.Key), " ", string(r.Value), " ", len(r.Headers), " ", r.Headers != nil && r.Headers[1].Value == nil))
			})
		}
		sort.Strings(all)
		return all
	}
	one := base(kgo.ConsumerGroup(name+"-group"), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	for _, l := range take(one, 50) {
		fmt.Println(l)
	}
	must(one.CommitUncommittedOffsets(ctx))
	two := base(kgo.ConsumerGroup(name+"-group"), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit())
	for {
		short, c := context.WithTimeout(ctx, 100*time.Millisecond)
		one.PollFetches(short)
		two.PollFetches(short)
		c()
		d, err := admin.DescribeGroups(ctx, name+"-group")
		must(err)
		if g := d[name+"-group"]; g.State == "Stable" && len(g.Members) == 2 {
			fmt.Println("members", 2, g.Protocol)
			break
		}
	}
	one.Close()
	two.Close()
	session, err := kgo.NewGroupTransactSession(append(first, kgo.TransactionalID(name+"-id"), kgo.ConsumerGroup(name+"-eos"), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	must(err)
	seen := 0
	for round := 0; seen < 50; round++ {
		f := session.PollFetches(ctx)
		must(f.Err())
		must(session.Begin())
		n := 0
		f.EachRecord(func(r *kgo.Record) {
			n++
			session.Produce(ctx, &kgo.Record{Topic: topic + "-out", Value: r.Value}, nil)
		})
		committed, err := session.End(ctx, kgo.TransactionEndTry(round > 0))
		must(err)
		if committed {
			seen += n
		}
	}
	session.Close()
	offsets, err := admin.FetchOffsets(ctx, name+"-eos")
	must(err)
	fmt.Println("committed", offsets[topic][0].At, offsets[topic][1].At)
	reader := base(kgo.ConsumeTopics(topic+"-out"), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	count := 0
	for count < 50 {
		f := reader.PollFetches(ctx)
		must(f.Err())
		count += f.NumRecords()
	}
	fmt.Println("read", count)
	reader.Close()
	ends, err := admin.ListEndOffsets(ctx, topic)
	must(err)
	e, _ := ends.Lookup(topic, 0)
	fmt.Println("end", e.Offset)
	after, err := admin.ListOffsetsAfterMilli(ctx, 1005, topic)
	must(err)
	e, _ = after.Lookup(topic, 1)
	fmt.Println("after", e.Offset, e.Timestamp)
	_, err = admin.DeleteTopics(ctx, topic)
	must(err)
}
