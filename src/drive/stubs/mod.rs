//! What stands in for the world that a build calls by HTTP, one of its own for each drive.
//!
//! In come the scenario's effects, checked ([`StubRules`]), and a listener for each; out comes every call, in the order of arrival
//! ([`Calls`]), for whoever keeps the drive's outputs. What never happens here: a call is answered that is not kept, a request is let
//! through to the world, memory or a wait grows without a bound.

mod call;
mod calls;
mod effect;
mod ofrep;
mod pattern;
mod recorded;
mod registry;
mod serve;
mod settings;
mod template;

pub use settings::{
    AnswerBody, AnswerSettings, EffectSettings, LatencySettings, RegistrySettings, StubRules, StubSettings,
};

pub use registry::Level as RegistryLevel;

pub(super) use call::Call;
pub(super) use calls::Calls;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use calls::counter;
use effect::Seen;
use ofrep::Ofrep;
use registry::Registry;
use serve::{Desk, Server};

use super::flags::Flags;
use super::world::World;
use super::{DriveError, Job, KnownSchemas};
use crate::clock::{Clock, SystemClock};
use crate::outcome::{EffectCount, EndingReport};

/// What stands around one drive in place of the world; nothing where the scenario has none.
#[derive(Debug)]
pub(super) struct Outside(Option<(Stubs, Calls)>);

impl Outside {
    /// Starts the stubs of `job`'s drive, where any are wanted, and tells `world` where they are: by placeholders, and by the variables
    /// `REHEARSAL_EFFECT_NAME`, `REHEARSAL_REGISTRY` and `REHEARSAL_OFREP`.
    ///
    /// # Errors
    ///
    /// [`DriveError::World`] where the system gives no port or no thread; [`DriveError::Isolation`] where what `hosts` says cannot be.
    pub(super) fn open(job: &Job<'_>, world: &mut World) -> Result<Self, DriveError> {
        let named = |target: &String| target == "registry";
        let named = job.rules.isolation.hosts.values().any(named) || job.build.names("registry", &job.rules.sinks);
        let wanted = |rules: &&StubRules| !rules.effects.is_empty() || named;
        let (rules, flags) = (job.rules.stubs.as_ref().filter(wanted), world.flags());
        if rules.is_none() && flags.is_none() {
            return Ok(Self(None));
        }
        let bounds = job.rules.stubs.as_ref().map_or_else(StubSettings::default, |rules| rules.bounds);
        let listener = |_: &str| world.listen((Ipv4Addr::LOCALHOST, 0).into());
        let failed = |source| DriveError::World { drive: job.name.to_owned(), source };
        let (mut stubs, calls) = Stubs::start(rules, flags, bounds, &job.rules.schemas, listener).map_err(failed)?;
        stubs.masked = job.rules.mask.is_some();
        for (name, address) in &stubs.addresses {
            if let Some(isolation) = world.isolation() {
                isolation.offer(name, *address)?;
            }
        }
        for (name, url) in stubs.urls() {
            let variable = name.replace("effects.", "effect.").to_ascii_uppercase().replace(['-', '.'], "_");
            world.tell(format!("REHEARSAL_{variable}"), url.clone());
            world.offer(name, url);
        }
        Ok(Self(Some((stubs, calls))))
    }

    /// Hands out the calls, their times told by the drive's `clock`; once.
    pub(super) fn calls(&mut self, clock: &dyn Clock) -> Calls {
        let Some((stubs, calls)) = &mut self.0 else { return Calls::default() };
        let offset_us = clock.now().as_micros() as i64 - stubs.clock.now().as_micros() as i64;
        std::mem::take(calls).ahead_by(offset_us)
    }

    /// Writes down what was called, once the build has ended.
    pub(super) fn report(&self, report: &mut EndingReport) {
        if let Some((stubs, _)) = &self.0 {
            stubs.report(report);
        }
    }
}

/// The stubs of one drive. They answer until this is dropped.
#[derive(Debug)]
struct Stubs {
    server: Server,
    addresses: BTreeMap<String, SocketAddr>,
    seen: Vec<(String, Arc<Seen>)>,
    registry: Option<Arc<Registry>>,
    flags: Option<Arc<Flags>>,
    clock: Arc<SystemClock>,
    /// Whether something is masked: paths may hold it, and nobody can tell where.
    masked: bool,
}

impl Stubs {
    /// Starts the stubs of `rules` and, where there are `flags`, the one that evaluates them. What is registered, `schemas` learn. `listener` is asked for a listener of each
    /// name: `effects.NAME`, `registry`, `ofrep`.
    ///
    /// # Errors
    ///
    /// What the system says where it gives no port or no thread.
    fn start(
        rules: Option<&StubRules>,
        flags: Option<Arc<Flags>>,
        bounds: StubSettings,
        schemas: &KnownSchemas,
        mut listener: impl FnMut(&str) -> io::Result<TcpListener>,
    ) -> io::Result<(Self, Calls)> {
        let (mut addresses, mut seen, mut desks) = (BTreeMap::new(), Vec::new(), Vec::new());
        for effect in rules.iter().flat_map(|rules| &rules.effects) {
            let name = format!("effects.{}", effect.name());
            let listening = listener(&name)?;
            addresses.insert(name, listening.local_addr()?);
            let of_drive = Arc::new(Seen::default());
            seen.push((effect.name().to_owned(), Arc::clone(&of_drive)));
            desks.push((listening, Desk::Effect { effect: Arc::clone(effect), seen: of_drive }));
        }
        let registry = rules.map(|rules| Arc::new(Registry::new(&rules.recorded, schemas.clone())));
        if let Some(registry) = &registry {
            let listening = listener("registry")?;
            addresses.insert("registry".to_owned(), listening.local_addr()?);
            desks.push((listening, Desk::Registry(Arc::clone(registry))));
        }
        if let Some(flags) = &flags {
            let listening = listener("ofrep")?;
            addresses.insert("ofrep".to_owned(), listening.local_addr()?);
            desks.push((listening, Desk::Flags(Ofrep::new(Arc::clone(flags)))));
        }
        let (put, calls) = counter();
        let clock = Arc::new(SystemClock::start());
        let server = Server::start(desks, bounds, put, Arc::clone(&clock))?;
        Ok((Self { server, addresses, seen, registry, flags, clock, masked: false }, calls))
    }

    /// Addresses by name, as a build is told them: `effects.NAME`, `registry` and `ofrep` to `http://127.0.0.1:PORT`.
    fn urls(&self) -> BTreeMap<String, String> {
        self.addresses.iter().map(|(name, address)| (name.clone(), format!("http://{address}"))).collect()
    }

    fn report(&self, report: &mut EndingReport) {
        let count = |seen: &Seen| if self.masked { without_paths(seen.count()) } else { seen.count() };
        report.effects = self.seen.iter().map(|(name, seen)| (name.clone(), count(seen))).collect();
        report.registry = self.registry.as_ref().map(|registry| registry.count()).filter(|count| count.requests > 0);
        if let Some(flags) = &self.flags {
            flags.report(report);
        }
        report.broken_requests = self.server.broken();
    }
}

/// Names calls without a rule by their methods alone.
fn without_paths(mut count: EffectCount) -> EffectCount {
    for (call, times) in std::mem::take(&mut count.unmatched_calls) {
        let method = call.split(' ').next().unwrap_or_default();
        *count.unmatched_calls.entry(format!("{method} [redacted]")).or_default() += times;
    }
    count
}

/// A port of this machine that the system chooses.
#[cfg(test)]
fn any_port(_: &str) -> io::Result<TcpListener> {
    TcpListener::bind(("127.0.0.1", 0))
}

#[cfg(test)]
mod tests;
