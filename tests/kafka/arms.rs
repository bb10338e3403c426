//! The arms of the conformance suite: a client against a broker. Which of them ran and which were left out is counted and printed.
//!
//! The tally is printed when all tests of the suite have ended. Where `REHEARSAL_ARMS` names a file, each arm also adds its line
//! there as it ends, `CLIENT against BROKER: ran` or `…: left out`, for whoever must know that none is missing.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::sync::Mutex;

/// The stage under test.
pub(crate) const STAGE: &str = "stage";

/// The stage while it loses connections and answers, and refuses what clients are to ask again.
pub(crate) const FAULTY: &str = "stage with faults";

/// What the stage is held against.
pub(crate) const KAFKA: &str = "Apache Kafka";

/// Number of bodies in the suite.
#[macro_export]
macro_rules! count_bodies {
    ($($room:ident: $($body:ident),* $(,)?;)*) => {
        [$($(stringify!($body)),*),*].len()
    };
}

/// How often each arm ran and was left out.
struct Tally {
    ended: usize,
    arms: BTreeMap<(&'static str, &'static str), (u32, u32)>,
}

static TALLY: Mutex<Tally> = Mutex::new(Tally { ended: 0, arms: BTreeMap::new() });

/// A test of the suite: when the last of them ends, however it does, the tally is printed.
pub(crate) struct OfSuite {
    client: &'static str,
}

impl OfSuite {
    /// Begins a test in which a client works.
    pub(crate) fn with(client: &'static str) -> Self {
        Self { client }
    }

    /// The client has worked with a broker, and its test has seen what it did.
    pub(crate) fn ran(&self, broker: &'static str) {
        note(self.client, broker, true);
    }

    /// The client could not work with a broker, since one of them cannot be had.
    pub(crate) fn left_out(&self, broker: &'static str) {
        note(self.client, broker, false);
    }
}

impl Drop for OfSuite {
    fn drop(&mut self) {
        let Ok(mut tally) = TALLY.lock() else { return };
        tally.ended += 1;
        if tally.ended == crate::stage::SUITE {
            tell(&tally);
        }
    }
}

fn note(client: &'static str, broker: &'static str, ran: bool) {
    let mut tally = TALLY.lock().unwrap();
    let (done, missed) = tally.arms.entry((client, broker)).or_default();
    *if ran { done } else { missed } += 1;
    if let Some(path) = std::env::var_os("REHEARSAL_ARMS") {
        let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(file, "{client} against {broker}: {}", if ran { "ran" } else { "left out" }).unwrap();
    }
}

/// Past what captures the output of tests: what is left out must be seen.
fn tell(tally: &Tally) {
    let ran = tally.arms.values().filter(|(_, missed)| *missed == 0).count();
    let mut stderr = std::io::stderr().lock();
    let _ = writeln!(stderr, "\nARMS: {ran} ran, {} left out", tally.arms.len() - ran);
    for ((client, broker), (done, missed)) in &tally.arms {
        let _ = writeln!(stderr, "  {client} against {broker}: {done} ran, {missed} left out");
    }
}
