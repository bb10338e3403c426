//! The sample builds that the program carries, so that the demo and the scenarios need nothing else built.
//!
//! In comes a name, out runs a build that speaks stdio on the streams it is given, or Kafka with the brokers that its environment
//! names. The sources stand beside their scenarios, in `scenarios/NAME/old.rs` and `new.rs`; here is only the door to them, and the
//! few lines that every build needs.

mod api;
mod broker;
mod flights;
mod kafka;
mod stdio;

pub use api::Api;
pub use broker::{Broker, BrokerError, fill};
pub use flights::{COMPENSATION, unpack_flights};
pub use kafka::Client;
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
#[path = "../../scenarios/payments/new.rs"]
mod payments_new;
#[path = "../../scenarios/payments/old.rs"]
mod payments_old;
#[path = "../../scenarios/refunds/new.rs"]
mod refunds_new;
#[path = "../../scenarios/refunds/old.rs"]
mod refunds_old;

/// A build that the program carries.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Name, as in `rehearsal sample NAME`.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    run: Run,
}

/// What a sample speaks.
#[derive(Debug, Clone, Copy)]
enum Run {
    Lines(fn(Stdio<'_>) -> io::Result<()>),
    Kafka { topics: &'static [&'static str], run: fn(Client) -> io::Result<()> },
}

impl Sample {
    /// Whether it reads and writes Kafka instead of the streams that it is given.
    pub fn reads_kafka(self) -> bool {
        matches!(self.run, Run::Kafka { .. })
    }

    /// Runs the build until `input` ends; one that reads Kafka until it is ended.
    ///
    /// # Errors
    ///
    /// A line of `input` that is no delivery, or a stream that breaks; over Kafka, what librdkafka gives up on.
    pub fn run(self, input: &mut dyn BufRead, output: &mut dyn Write) -> io::Result<()> {
        match self.run {
            Run::Lines(run) => run(Stdio::new(input, output)),
            Run::Kafka { topics, run } => run(Client::subscribe(topics)?),
        }
    }
}

/// Returns all samples, in order of name.
pub fn samples() -> &'static [Sample] {
    &[
        Sample {
            name: "alerts-new",
            about: "tells passengers of changes, in batches by partition",
            run: Run::Lines(alerts_new::run),
        },
        Sample {
            name: "alerts-old",
            about: "tells passengers of changes, one by one",
            run: Run::Lines(alerts_old::run),
        },
        Sample {
            name: "compensation-new",
            about: "pays for long delays, optimised",
            run: Run::Lines(compensation_new::run),
        },
        Sample {
            name: "compensation-old",
            about: "pays for long delays, each payment once",
            run: Run::Lines(compensation_old::run),
        },
        Sample {
            name: "delay-board-new",
            about: "average delay by airport in windows of five minutes",
            run: Run::Lines(delay_board_new::run),
        },
        Sample {
            name: "delay-board-old",
            about: "average delay by airport in windows of an hour",
            run: Run::Lines(delay_board_old::run),
        },
        Sample {
            name: "payments-new",
            about: "has a bank pay cancelled flights back, without a memory",
            run: Run::Lines(payments_new::run),
        },
        Sample {
            name: "payments-old",
            about: "has a bank pay cancelled flights back, each flight once",
            run: Run::Lines(payments_old::run),
        },
        Sample {
            name: "refunds-new",
            about: "over Kafka: pays cancelled flights back, without a memory",
            run: Run::Kafka { topics: &["flights"], run: refunds_new::run },
        },
        Sample {
            name: "refunds-old",
            about: "over Kafka: pays cancelled flights back, each flight once",
            run: Run::Kafka { topics: &["flights"], run: refunds_old::run },
        },
    ]
}

/// Finds a sample by name.
pub fn sample(name: &str) -> Option<Sample> {
    samples().iter().copied().find(|sample| sample.name == name)
}
