//! What every sample build needs to speak stdio: deliveries in, outputs and commits out.

use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};

/// A build's standard input and output.
pub struct Stdio<'a> {
    input: &'a mut dyn BufRead,
    output: &'a mut dyn Write,
    line: String,
}

/// One delivery, as it stands on a line.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Delivered {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Position in the replayed log.
    pub offset: i64,
    /// The event's own time, in milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// What happened to a flight; none for a tombstone.
    pub value: Option<Flight>,
}

/// What happened to a flight: the value of an event of the topic `flights`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Flight {
    /// Day, flight and route.
    pub flight_id: String,
    /// Airport it leaves from.
    pub origin: String,
    /// Airport it goes to.
    pub dest: String,
    /// Length of the route.
    pub distance_miles: i64,
    /// `departed`, `arrived` or `cancelled`.
    #[serde(rename = "type")]
    pub what: String,
    /// When it happened, as text.
    pub at: String,
    /// How late it departed; negative where early.
    pub departure_delay_minutes: Option<i64>,
    /// How late it arrived; negative where early.
    pub arrival_delay_minutes: Option<i64>,
}

#[derive(Serialize)]
struct Line<'a, V> {
    topic: &'a str,
    key: &'a str,
    timestamp_ms: i64,
    value: &'a V,
    cause: Place<'a>,
}

#[derive(Serialize)]
struct Commit<'a> {
    commit: Place<'a>,
}

#[derive(Serialize)]
struct Place<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
}

impl<'a> Stdio<'a> {
    /// Speaks over `input` and `output`.
    pub fn new(input: &'a mut dyn BufRead, output: &'a mut dyn Write) -> Self {
        Self { input, output, line: String::new() }
    }

    /// Reads the next delivery; none at the end of input.
    ///
    /// # Errors
    ///
    /// A line that is no delivery, or a stream that breaks.
    pub fn read(&mut self) -> io::Result<Option<Delivered>> {
        self.line.clear();
        if self.input.read_line(&mut self.line)? == 0 {
            return Ok(None);
        }
        Ok(Some(serde_json::from_str(&self.line)?))
    }

    /// Writes an output to `topic`, caused by `cause`, that happens at `timestamp_ms` of event time.
    ///
    /// # Errors
    ///
    /// A stream that breaks.
    pub fn write<V: Serialize>(
        &mut self,
        topic: &str,
        key: &str,
        timestamp_ms: i64,
        value: &V,
        cause: &Delivered,
    ) -> io::Result<()> {
        let cause = Place { topic: &cause.topic, partition: cause.partition, offset: cause.offset };
        self.line(&Line { topic, key, timestamp_ms, value, cause })
    }

    /// Says that everything up to and with `done` is dealt with in its partition, and lets go of what is buffered.
    ///
    /// # Errors
    ///
    /// A stream that breaks.
    pub fn commit(&mut self, done: &Delivered) -> io::Result<()> {
        self.line(&Commit {
            commit: Place { topic: &done.topic, partition: done.partition, offset: done.offset + 1 },
        })?;
        self.output.flush()
    }

    fn line(&mut self, line: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.output, line)?;
        self.output.write_all(b"\n")
    }
}

/// Whether the flag `name` of the scenario's build is on; `default` where the scenario does not say.
///
/// A flag `new-rounding` reaches a build as the environment variable `REHEARSAL_FLAG_NEW_ROUNDING`.
pub fn flag(name: &str, default: bool) -> bool {
    let variable = format!("REHEARSAL_FLAG_{}", name.to_uppercase().replace('-', "_"));
    std::env::var(variable).map_or(default, |value| value == "true")
}
