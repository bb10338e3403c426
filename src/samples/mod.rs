//! The sample builds that the program carries, so that the demo and the scenarios need nothing else built.
//!
//! In comes a name, out runs a build that speaks stdio on the streams it is given. The sources stand beside their scenarios, in
//! `scenarios/NAME/old.rs` and `new.rs`; here is only the door to them, and the few lines that every build over stdio needs.

mod broker;
mod flights;
mod stdio;

pub use broker::{Broker, BrokerError, fill};
pub use flights::{COMPENSATION, unpack_flights};
pub use stdio::{Delivered, Flight, Stdio, flag};

use std::io::{self, BufRead, Write};

#[path = "../../scenarios/alerts/new.rs"]
mod alerts_new;
#[path = "../../scenarios/alerts/old.rs"]
mod alerts_old;
#[path = "../../scenarios/compensation/new.rs"]
mod compensation_new;
#[path = "../../scenarios/compensation/old.rs"]
mod compensation_old;
#[path = "../../scenarios/delay-board/new.rs"]
mod delay_board_new;
#[path = "../../scenarios/delay-board/old.rs"]
mod delay_board_old;

/// A build that the program carries.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Name, as in `rehearsal sample NAME`.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    run: fn(Stdio<'_>) -> io::Result<()>,
}

impl Sample {
    /// Runs the build until `input` ends.
    ///
    /// # Errors
    ///
    /// A line of `input` that is no delivery, or a stream that breaks.
    pub fn run(self, input: &mut dyn BufRead, output: &mut dyn Write) -> io::Result<()> {
        (self.run)(Stdio::new(input, output))
    }
}

/// Returns all samples, in order of name.
pub fn samples() -> &'static [Sample] {
    &[
        Sample {
            name: "alerts-new",
            about: "tells passengers of changes, in batches by partition",
            run: alerts_new::run,
        },
        Sample { name: "alerts-old", about: "tells passengers of changes, one by one", run: alerts_old::run },
        Sample { name: "compensation-new", about: "pays for long delays, optimised", run: compensation_new::run },
        Sample {
            name: "compensation-old",
            about: "pays for long delays, each payment once",
            run: compensation_old::run,
        },
        Sample {
            name: "delay-board-new",
            about: "average delay by airport in windows of five minutes",
            run: delay_board_new::run,
        },
        Sample {
            name: "delay-board-old",
            about: "average delay by airport in windows of an hour",
            run: delay_board_old::run,
        },
    ]
}

/// Finds a sample by name.
pub fn sample(name: &str) -> Option<Sample> {
    samples().iter().copied().find(|sample| sample.name == name)
}
