//! Writing an outcome while its drive goes on.

use std::fs;
use std::path::{Path, PathBuf};

use super::{
    DeliveriesWriter, Ending, EndingReport, GaugesWriter, Outcome, OutcomeError, Output, OutputsWriter, TouchesWriter,
};

/// An outcome under construction. Its parts are fields so that threads of a drive may each write one.
///
/// What has been checkpointed can be read even if the process is killed: `ending.json` then says that the drive was cut off.
#[derive(Debug)]
pub struct OutcomeWriter {
    path: PathBuf,
    /// Outputs, in order of sequence.
    pub outputs: OutputsWriter,
    /// Deliveries, in the order of the plan.
    pub deliveries: DeliveriesWriter,
    /// Figures over time.
    pub gauges: GaugesWriter,
    /// What faults at requests touched; none unless [`Self::keep_touches`] asked for it.
    pub touches: Option<TouchesWriter>,
}

impl OutcomeWriter {
    /// Creates the directory `dir` and the files in it, none of which may be there yet. Deliveries point into `topics` and
    /// `faults` ([`Plan::topics`](crate::plan::Plan::topics) and the names of the plan's faults).
    ///
    /// # Errors
    ///
    /// [`OutcomeError::Io`] where a file is there already or cannot be made.
    pub fn create(dir: impl AsRef<Path>, topics: &[String], faults: &[String]) -> Result<Self, OutcomeError> {
        let path = dir.as_ref().to_owned();
        fs::create_dir_all(&path).map_err(|source| OutcomeError::io(&path, source))?;
        let writer = Self {
            outputs: OutputsWriter::create(&path)?,
            deliveries: DeliveriesWriter::create(path.join("deliveries.parquet"), topics, faults)?,
            gauges: GaugesWriter::create(&path)?,
            touches: None,
            path,
        };
        // Replaced at the end of the drive; stays only if this process does not live to see it.
        EndingReport::new(Ending::TimedOut, "the drive was cut off: what stands here was written before")
            .write(&writer.path)?;
        Ok(writer)
    }

    /// Keeps what faults at requests touch, too.
    ///
    /// # Errors
    ///
    /// [`OutcomeError::Io`] where the file is there already or cannot be made.
    pub fn keep_touches(&mut self) -> Result<(), OutcomeError> {
        self.touches = Some(TouchesWriter::create(&self.path)?);
        Ok(())
    }

    /// Takes one output.
    ///
    /// # Errors
    ///
    /// As [`OutputsWriter::append`].
    pub fn output(&mut self, output: &Output) -> Result<(), OutcomeError> {
        self.outputs.append(&output.into())
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Ends all files, writes `ending.json` and opens the outcome for reading.
    ///
    /// # Errors
    ///
    /// [`OutcomeError::Io`] where the file cannot be written.
    pub fn finish(self, report: &EndingReport) -> Result<Outcome, OutcomeError> {
        self.outputs.finish()?;
        self.deliveries.finish()?;
        self.gauges.finish()?;
        self.touches.map_or(Ok(()), TouchesWriter::finish)?;
        report.write(&self.path)?;
        Outcome::open(&self.path)
    }
}
