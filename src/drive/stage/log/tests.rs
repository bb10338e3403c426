//! Logs held against a list that says what should stand in them.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::drive::stage::batch::{Batch, BatchHeader};
use crate::drive::stage::partition::Partition;
use crate::drive::stage::record::Record;
use crate::recording::{EventView, HeadersView, Place, TimestampType};

fn record(offset: i64, timestamp: i64) -> Record {
    Record { offset, timestamp, value: Some(Bytes::from(vec![7; (offset % 90) as usize])), ..Record::default() }
}

fn batch(producer: i64, transactional: bool, sequence: i32, timestamps: &[i64]) -> Batch {
    let records: Vec<Record> = timestamps.iter().zip(0..).map(|(time, offset)| record(offset, *time)).collect();
    let header = BatchHeader {
        attributes: i16::from(transactional) << 4,
        producer_id: producer,
        producer_epoch: if producer < 0 { -1 } else { 0 },
        base_sequence: if producer < 0 { -1 } else { sequence },
        ..BatchHeader::default()
    };
    Batch::of(header, &records)
}

fn written() -> WrittenLog {
    WrittenLog::new(&std::env::temp_dir(), Duration::from_secs(86_400))
}

fn want(offset: i64, bytes_max: usize) -> Want {
    Want { offset, bytes_max, first_whole: true, events_max: usize::MAX, committed: false }
}

/// Offsets and timestamps of what a reader gets.
fn offsets(slice: &Slice) -> Vec<(i64, i64)> {
    let mut wire = Bytes::from(slice.parts.concat());
    let mut all = Vec::new();
    while !wire.is_empty() {
        let batch = Batch::split_from(&mut wire).unwrap();
        all.extend(batch.records().unwrap().iter().map(|record| (record.offset, record.timestamp)));
    }
    all
}

fn slice(log: &Log, want: Want) -> Slice {
    match log.read(want).unwrap() {
        Reading::Slice(slice) => slice,
        Reading::Stored { stored, slice } => Slice { parts: vec![stored.read().unwrap().into()], ..slice },
        Reading::Again { .. } => panic!("events have left memory"),
    }
}

proptest! {
    #[test]
    fn a_written_log_gives_what_was_written_from_anywhere(
        batches in prop::collection::vec(prop::collection::vec(0_i64..100, 1..6), 1..40),
        from in any::<prop::sample::Index>(),
        bytes_max in 0_usize..2_000,
        sought in 0_i64..110,
    ) {
        let mut log = written();
        let mut expected = Vec::new();
        for timestamps in &batches {
            let appended = log.produce(&batch(-1, false, 0, timestamps), None, 0).unwrap();
            prop_assert_eq!(appended.base_offset, expected.len() as i64);
            expected.extend(timestamps.iter().copied());
        }
        let partition = Partition::new(0, Log::Written(log), None);
        let found = partition.at_time(sought, false).unwrap();
        let place = expected.iter().position(|time| *time >= sought).map(|at| (at as i64, expected[at]));
        prop_assert_eq!(found, place);
        let largest = expected.iter().copied().max().map(|most| {
            (expected.iter().position(|time| *time == most).unwrap() as i64, most)
        });
        prop_assert_eq!(partition.at_largest_time(false).unwrap(), largest);
        let log = partition.into_log();
        let from = from.index(expected.len() + 1);
        let read = offsets(&slice(&log, want(from as i64, bytes_max)));
        // Whole batches: from the one that holds the offset on.
        let first = read.first().map_or(from, |(offset, _)| *offset as usize);
        prop_assert!(first <= from && read.is_empty() == (from == expected.len()));
        let same = (first..).zip(&expected[first.min(expected.len())..]).map(|(offset, time)| (offset as i64, *time));
        prop_assert_eq!(&read, &same.take(read.len()).collect::<Vec<_>>());
        prop_assert_eq!(log.available(expected.len() as i64, false).unwrap(), 0);
    }
}

#[test]
fn what_left_memory_is_read_from_disk() {
    let mut log = written();
    for _ in 0..30 {
        let large = Record { offset: 0, value: Some(vec![3; 50_000].into()), ..Record::default() };
        log.produce(&Batch::of(BatchHeader::default(), &[large]), None, 0).unwrap();
    }
    let log = Log::Written(log);
    for from in [0, 7, 26, 29] {
        // Whoever locks the log is told where to read, and does so without it.
        let reading = log.read(want(from, 120_000)).unwrap();
        assert_eq!(matches!(reading, Reading::Stored { .. }), from < 26, "from {from}");
        let read = offsets(&slice(&log, want(from, 120_000)));
        let expected: Vec<i64> = (from..30).take(2).collect();
        assert_eq!(read.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), expected);
    }
    assert_eq!(log.available(28, false).unwrap() / 50_000, 2);
}

#[test]
fn a_batch_larger_than_asked_for_comes_whole_if_it_is_the_first() {
    let mut log = written();
    log.produce(&batch(-1, false, 0, &[1, 2, 3]), None, 0).unwrap();
    let log = Log::Written(log);
    assert_eq!(offsets(&slice(&log, want(1, 1))).len(), 3);
    assert_eq!(offsets(&slice(&log, Want { first_whole: false, ..want(1, 1) })), []);
}

#[test]
fn a_committed_reader_stops_at_what_is_open_and_learns_what_was_aborted() {
    let mut log = written();
    log.produce(&batch(5, true, 0, &[1, 2]), None, 0).unwrap();
    log.produce(&batch(6, true, 0, &[3]), None, 0).unwrap();
    log.produce(&batch(-1, false, 0, &[4]), None, 0).unwrap();
    let committed = Want { committed: true, ..want(0, 10_000) };
    let mut log = Log::Written(log);
    assert_eq!(slice(&log, committed).len(), 0);
    assert_eq!(offsets(&slice(&log, want(0, 10_000))).len(), 4);
    let end = |log: &mut Log, producer, commit| match log {
        Log::Written(log) => log.end_transaction(producer, 0, commit, 9, 0).unwrap(),
        Log::Planned(_) => unreachable!(),
    };
    end(&mut log, 5, false);
    // The other one is open from offset 2 on.
    assert_eq!(log.upper(true), 2);
    let first = slice(&log, committed);
    assert_eq!((offsets(&first).len(), first.last_stable, first.high_watermark), (2, 2, 5));
    assert_eq!(first.aborted, [Aborted { producer_id: 5, first_offset: 0, last_offset: 4 }]);
    end(&mut log, 6, true);
    let all = slice(&log, committed);
    assert_eq!((offsets(&all).len(), all.last_stable, all.aborted.len()), (6, 6, 1));
    assert_eq!(slice(&log, Want { committed: true, ..want(5, 10_000) }).aborted, []);
}

/// Transactions of which every second begins ahead of the end of the one before, all taken back but each hundredth.
#[test]
fn of_a_hundred_thousand_transactions_taken_back_a_reader_learns_of_those_it_meets() {
    const COUNT: i64 = 100_000;
    let mut log = written();
    let mut expected = Vec::new();
    let end = |log: &mut WrittenLog, expected: &mut Vec<Aborted>, producer_id: i64, first_offset: i64| {
        let (committed, last_offset) = (producer_id % 100 == 0, log.next());
        log.end_transaction(producer_id, 0, committed, 9, 0).unwrap();
        if !committed {
            expected.push(Aborted { producer_id, first_offset, last_offset });
        }
    };
    for producer in (0..COUNT).step_by(2) {
        let first = log.next();
        log.produce(&batch(producer, true, 0, &[1]), None, 0).unwrap();
        log.produce(&batch(producer + 1, true, 0, &[1]), None, 0).unwrap();
        end(&mut log, &mut expected, producer, first);
        end(&mut log, &mut expected, producer + 1, first + 1);
    }
    let next = log.next();
    assert_eq!(log.last_stable(), next);
    let log = Log::Written(log);
    // However far into the log one reads, it is told of what lies there: a scan of all for each reader would take minutes here.
    for offset in (0..next).step_by(7) {
        let read = slice(&log, Want { committed: true, ..want(offset, 600) });
        let mut wire = Bytes::from(read.parts.concat());
        let mut upper = offset;
        while !wire.is_empty() {
            upper = Batch::split_from(&mut wire).unwrap().header.last_offset() + 1;
        }
        let first = expected.partition_point(|one| one.last_offset < offset);
        let inside = expected[first..].iter().take(20).filter(|one| one.first_offset < upper);
        assert_eq!(read.aborted, inside.copied().collect::<Vec<_>>(), "from {offset}");
    }
}

#[test]
fn a_batch_that_is_sent_twice_stands_once() {
    let mut log = written();
    let one = batch(5, false, 0, &[1, 2]);
    let first = log.produce(&one, None, 0).unwrap();
    let again = log.produce(&one, None, 0).unwrap();
    assert_eq!((first.base_offset, first.duplicate), (0, false));
    assert_eq!((again.base_offset, again.duplicate), (0, true));
    assert!(matches!(log.produce(&batch(5, false, 3, &[1]), None, 0), Err(LogError::OutOfOrder)));
    assert_eq!(log.next(), 2);
}

#[test]
fn a_log_that_was_cut_begins_behind_the_cut() {
    let mut log = written();
    for time in 0..10 {
        log.produce(&batch(-1, false, 0, &[time]), None, 0).unwrap();
    }
    assert_eq!(log.delete_before(4).unwrap(), 4);
    assert_eq!(log.delete_before(2).unwrap(), 4);
    assert!(matches!(log.delete_before(11), Err(LogError::OutOfRange)));
    let partition = Partition::new(0, Log::Written(log), None);
    assert_eq!(partition.at_time(2, false).unwrap(), Some((4, 4)));
    let mut log = partition.into_log();
    assert!(matches!(log.read(want(3, 100)), Err(LogError::OutOfRange)));
    assert!(matches!(log.read(want(11, 100)), Err(LogError::OutOfRange)));
    if let Log::Written(log) = &mut log {
        assert_eq!(log.delete_before(-1).unwrap(), 10);
    }
    assert_eq!(slice(&log, want(10, 100)).len(), 0);
}

/// Encodes events at these positions with these timestamps.
fn chunk(events: &[(i64, i64)], kind: TimestampType) -> Chunk {
    let mut builder = ChunkBuilder::default();
    for (position, timestamp) in events {
        let value = vec![1; (*position % 50) as usize];
        assert!(builder.push(*position, place(*position), &view(*timestamp, kind, &value)));
    }
    builder.finish().unwrap()
}

fn view(timestamp_ms: i64, timestamp_type: TimestampType, value: &[u8]) -> EventView<'_> {
    EventView {
        topic: "t",
        partition: 0,
        offset: 0,
        timestamp_ms: Some(timestamp_ms),
        timestamp_type,
        captured_at_us: None,
        key: None,
        value: Some(value),
        headers: HeadersView::EMPTY,
    }
}

fn place(position: i64) -> Place {
    Place { segment: (position >> 4) as u32, row: position as u32 }
}

proptest! {
    #[test]
    fn a_planned_log_shows_what_was_revealed_and_nothing_else(
        gaps in prop::collection::vec((1_i64..4, 0_i64..50), 1..80),
        sizes in prop::collection::vec(1_usize..9, 1..40),
        revealed in any::<prop::sample::Index>(),
        from in any::<prop::sample::Index>(),
        bytes_max in 0_usize..1_500,
        sought in 0_i64..60,
    ) {
        let mut position = 99;
        let events: Vec<(i64, i64)> = gaps.iter().map(|(gap, time)| { position += gap; (position, *time) }).collect();
        let mut log = PlannedLog::new(100, 1 << 20, &std::env::temp_dir()).unwrap();
        let mut rest = &events[..];
        for size in sizes.iter().cycle() {
            let (now, later) = rest.split_at((*size).min(rest.len()));
            log.stock(chunk(now, TimestampType::Create)).unwrap();
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        let count = revealed.index(events.len() + 1);
        for _ in 0..count {
            prop_assert_eq!(log.reveal(1), 1);
        }
        let end = count.checked_sub(1).map_or(100, |last| events[last].0 + 1);
        prop_assert_eq!(log.high_watermark(), end);
        let log = Log::Planned(log);
        let from = 100 + from.index((end - 100 + 1) as usize) as i64;
        let read = offsets(&slice(&log, want(from, bytes_max)));
        let seen: Vec<(i64, i64)> = events[..count].iter().copied().filter(|(at, _)| *at >= from).collect();
        prop_assert_eq!(read.is_empty(), seen.is_empty());
        prop_assert_eq!(&read[..], &seen[..read.len()]);
        prop_assert_eq!(log.available(from, false).unwrap() == 0, seen.is_empty());
        let found = events[..count].iter().find(|(_, time)| *time >= sought).copied();
        prop_assert_eq!(Partition::new(0, log, None).at_time(sought, false).unwrap(), found);
    }
}

#[test]
fn a_planned_log_keeps_a_window_and_names_where_the_rest_is_recorded() {
    let mut log = PlannedLog::new(0, 1_000, &std::env::temp_dir()).unwrap();
    for first in (0..1_000).step_by(10) {
        let events: Vec<(i64, i64)> = (first..first + 10).map(|at| (at, at)).collect();
        log.stock(chunk(&events, TimestampType::Create)).unwrap();
        log.reveal(10);
    }
    assert_eq!(log.reveal(1), 0);
    let log = Log::Planned(log);
    let Reading::Again { spots, slice: rest } = log.read(want(37, 1_000)).unwrap() else { panic!("it is in memory") };
    let spots = spots.read().unwrap();
    assert_eq!((spots[0].position, spots[0].place), (37, place(37)));
    assert!(rest.parts.is_empty() && rest.high_watermark == 1_000);
    assert!(spots.windows(2).all(|pair| pair[0].position + 1 == pair[1].position));
    assert_eq!(offsets(&slice(&log, want(995, 1_000))).len(), 5);
    assert!(log.available(37, false).unwrap() > 1_000_000);
}

#[test]
fn events_stamped_by_the_log_keep_their_stamps() {
    let mut builder = ChunkBuilder::default();
    assert!(builder.push(5, place(5), &view(70, TimestampType::Append, b"a")));
    assert!(!builder.push(6, place(6), &view(71, TimestampType::Append, b"b")));
    assert!(!builder.push(6, place(6), &view(70, TimestampType::Create, b"b")));
    assert!(builder.push(6, place(6), &view(70, TimestampType::Append, b"b")));
    let made = builder.finish().unwrap();
    assert!(builder.is_empty());
    let mut wire = Bytes::from(made.batch(1, 2).unwrap().concat());
    let batch = Batch::split_from(&mut wire).unwrap();
    assert!(batch.header.is_append_time());
    assert_eq!(batch.records().unwrap()[0].timestamp, 70);
}
