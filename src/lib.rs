//! Rehearses a stream processor's next release on yesterday's production.
//!
//! Kafka streams are captured to a [`recording`], a [`plan`] says which event is handed over when and how often, a [`drive`]
//! hands them to an old and a new build and keeps what each did as an [`outcome`], [`compare`] finds where outcomes differ and
//! [`report`] says so. What nobody may see is taken out by a [`mask`] before it is kept. [`scenario::run()`] is the whole pipeline
//! on one page. Clients of a cluster, where there is one, are made by [`kafka`]. Values that a registry's [`schema`] describes are
//! read as what they say by every room that looks into them. A build of another revision stands in a [`worktree`] of its own.
//!
//! ```text
//! Kafka ──capture──▶ recording ──┐
//!                                ├──plan──▶ deliveries ──drive──▶ outcomes ──compare──▶ comparison ──report──▶ html · json …
//! scenario.toml ─────────────────┘
//! ```
//!
//! # Invariants
//!
//! 1. The same recording, scenario and seed give the same plan, byte for byte, on every machine (inverse distributions through
//!    the `libm` crate called directly; ties by due time, topic, partition, position, which is also the order of `plan.parquet`).
//! 2. `plan`, `compare` and `report` open nothing and read no clock: readers and spill space are handed to them.
//! 3. `capture` leaves no trace on the cluster it reads, and nothing is ever produced to the cluster a recording came from.
//! 4. All renderers show the same [`report::Report`].
//! 5. The order of a hash map reaches no plan, comparison or report.
//! 6. Every queue and every wait has a bound, named in the settings; memory does not grow with the recording's length, nor with
//!    the largest delay (pending deliveries are coordinates, read again when due).
//! 7. Every published format version stays readable or is refused by name.
//! 8. No secret and no masked value appears in a report, a log, an outcome or an error. Of `env` only the names and a hash are
//!    kept.
//! 9. Only `cli/printer.rs` prints. Only `clock.rs` reads time. Only `plan/seed.rs` draws random numbers.
//! 10. "Cannot tell" is never green: no verdict where the test did not take place (a fault of the scenario of which nothing
//!     fired, builds that wrote nothing, an alignment that matched nothing, a gate on timing where the replay ran off its
//!     schedule).
//! 11. Drives share nothing that can block: each has its own plan iterator, pipes and threads; a stuck build stops only itself.

pub mod capture;
pub mod cli;
pub mod clock;
pub mod compare;
pub mod drive;
pub mod kafka;
pub mod mask;
pub mod outcome;
pub mod plan;
pub mod recording;
pub mod report;
pub mod samples;
pub mod scenario;
pub mod schema;
pub mod settings;
pub mod spill;
pub mod worktree;
