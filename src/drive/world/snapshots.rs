//! Looks at the sinks of a drive once its build has ended, and keeps what stands in them as outputs.

use std::collections::BTreeMap;
use std::io::{BufReader, Seek as _, SeekFrom};

use super::World;
use super::errands::{Bounds, Written, last_lines, log_of};
use crate::clock::Stop;
use crate::drive::keep::Keep;
use crate::drive::sink::{Rows, Sink};
use crate::drive::{DriveError, Job};
use crate::outcome::{Channel, OutcomeError, OutputRow, OutputsWriter, SinkReport};
use crate::plan::Phase;

impl World {
    /// Takes a snapshot of each sink, into `outputs` behind what is there; they came at `arrived_us`. One that fails is kept nothing
    /// of, and says why.
    ///
    /// # Errors
    ///
    /// [`DriveError::Outcome`] where the disk refuses.
    pub(in crate::drive) fn snapshots(
        &self,
        job: &Job<'_>,
        outputs: &mut OutputsWriter,
        arrived_us: i64,
        stop: &Stop,
    ) -> Result<BTreeMap<String, SinkReport>, DriveError> {
        let mut reports = BTreeMap::new();
        if job.rules.sinks.is_empty() {
            return Ok(reports);
        }
        let path = job.out.join("sinks.log");
        let mut log = log_of(job, &path)?;
        for sink in &job.rules.sinks {
            let mut file = tempfile::tempfile_in(&job.out).map_err(|source| OutcomeError::io(&job.out, source))?;
            let bounds = Bounds { time: sink.timeout, key: "timeout", stop: Some(stop) };
            let written = Written { log: &mut log, output: Some((&mut file, sink.bytes_max)) };
            let failed = self.run(job.build, &sink.snapshot, written, bounds).err();
            let mut report = SinkReport { rows: 0, failed };
            if report.failed.is_none() {
                file.seek(SeekFrom::Start(0)).map_err(|source| OutcomeError::io(&job.out, source))?;
                report.rows = keep(job, sink, BufReader::new(file), outputs, arrived_us)?;
            }
            reports.insert(sink.name.clone(), report);
        }
        log.finish().map_err(|source| OutcomeError::io(&path, source))?;
        if reports.values().any(|report| report.failed.is_some()) {
            let lines = last_lines(&path, job.build);
            if let Some(last) = lines.lines().last() {
                for failed in reports.values_mut().filter_map(|report| report.failed.as_mut()) {
                    *failed = format!("{failed} (sinks.log ends in: {last})");
                }
            }
        }
        Ok(reports)
    }
}

fn keep(
    job: &Job<'_>,
    sink: &Sink,
    snapshot: BufReader<std::fs::File>,
    outputs: &mut OutputsWriter,
    arrived_us: i64,
) -> Result<u64, DriveError> {
    let mut keep = Keep::behind(job.rules, outputs);
    let mut rows = Rows::new(sink, snapshot, job.rules.line_bytes_max);
    let mut count = 0;
    while let Some(row) = rows.next().map_err(|source| OutcomeError::io(&job.out, source))? {
        keep.keep(&OutputRow {
            sequence: 0,
            arrived_us,
            // What the warm-up left stands in it, too: nobody can part it from the rest.
            phase: Phase::Drain,
            channel: Channel::Sink,
            topic: &sink.name,
            partition: 0,
            timestamp_ms: None,
            key: row.key.as_deref(),
            value: Some(&row.value),
            headers: &[],
            cause: None,
            malformed: row.malformed,
        })?;
        count += 1;
    }
    Ok(count)
}
