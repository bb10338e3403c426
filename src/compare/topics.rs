//! Topics of outputs, by numbers.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64;

use super::CompareError;

/// Topics seen, numbered in order of appearance, and how many partitions each drive used.
#[derive(Debug, Default)]
pub(super) struct Topics {
    names: Vec<String>,
    hashes: Vec<u64>,
    numbers: BTreeMap<String, u16>,
    last: u16,
    /// By topic and drive: first partition seen, and whether there was another.
    partitions: BTreeMap<(u16, u8), (i32, bool)>,
    last_partition: Option<(u16, u8, i32)>,
}

impl Topics {
    /// Name of a topic.
    pub(super) fn name(&self, number: u16) -> &str {
        self.names.get(number as usize).map_or("", String::as_str)
    }

    /// Names of the topics, in order of appearance.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Hash of a topic's name.
    pub(super) fn hash(&self, number: u16) -> u64 {
        self.hashes.get(number as usize).copied().unwrap_or_default()
    }

    /// Whether a drive wrote more than one partition of a topic.
    pub(super) fn is_partitioned(&self, topic: &str, drive: usize) -> bool {
        let number = self.numbers.get(topic);
        number.and_then(|number| self.partitions.get(&(*number, drive as u8))).is_some_and(|(_, more)| *more)
    }

    /// Number of a topic, a new one where it was not seen before.
    pub(super) fn number(&mut self, topic: &str) -> Result<u16, CompareError> {
        if self.names.get(self.last as usize).is_some_and(|last| last == topic) {
            return Ok(self.last);
        }
        self.last = if let Some(number) = self.numbers.get(topic) {
            *number
        } else {
            let number = u16::try_from(self.names.len()).map_err(|_| CompareError::TooManyTopics)?;
            self.names.push(topic.to_owned());
            self.hashes.push(xxh3_64(topic.as_bytes()));
            self.numbers.insert(topic.to_owned(), number);
            number
        };
        Ok(self.last)
    }

    /// Notes the partition of an output.
    pub(super) fn note(&mut self, topic: u16, drive: u8, partition: i32) {
        if self.last_partition != Some((topic, drive, partition)) {
            self.last_partition = Some((topic, drive, partition));
            let seen = self.partitions.entry((topic, drive)).or_insert((partition, false));
            seen.1 |= seen.0 != partition;
        }
    }

    /// Adds topics of a drive of which none is known yet; the number here of each of them.
    pub(super) fn add(&mut self, other: Self) -> Result<Vec<u16>, CompareError> {
        let numbers: Vec<u16> = other.names.iter().map(|name| self.number(name)).collect::<Result<_, _>>()?;
        for ((topic, drive), seen) in other.partitions {
            self.partitions.insert((numbers[usize::from(topic)], drive), seen);
        }
        Ok(numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_of_several_drives_are_numbered_as_if_one_had_been_read_after_the_other() {
        let of = |drive: u8, names: &[(&str, i32)]| {
            let mut topics = Topics::default();
            for (name, partition) in names {
                let number = topics.number(name).unwrap();
                topics.note(number, drive, *partition);
            }
            topics
        };
        let mut all = Topics::default();
        assert_eq!(all.add(of(0, &[("b", 0), ("a", 0), ("b", 1)])).unwrap(), [0, 1]);
        assert_eq!(all.add(of(1, &[("c", 2), ("b", 1), ("a", 0), ("b", 1)])).unwrap(), [2, 0, 1]);
        assert_eq!([0, 1, 2, 3].map(|number| all.name(number)), ["b", "a", "c", ""]);
        let parted = |topic| [0, 1].map(|drive| all.is_partitioned(topic, drive));
        assert_eq!([parted("b"), parted("a"), parted("c")], [[true, false], [false, false], [false, false]]);
        assert_ne!(all.hash(0), all.hash(1));
    }
}
