//! What only Apache Kafka itself can show, and builds of Java. Without Java 17 and Maven these tests are left out, and say so.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod arms;
mod capture;
mod cluster;
mod conformance;
mod drive;
mod growing;
mod leaders;
mod pair;
mod payments;
#[path = "../it/postgres/server.rs"]
mod postgres;
mod source;
mod stage;
mod wall_clock;

pub(crate) use stage::on_each_arm;
