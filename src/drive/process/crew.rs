//! All processes of one build in one drive: started, watched, and ended together; stopped, ended and started again one by one where a
//! fault wants it.

use std::collections::BTreeMap;
use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use super::super::Job;
use super::super::pipe::Pipe;
use super::super::world::World;
use super::scrape::{Place, Scraper};
use super::stops::{Due, Stops, What};
use super::{Ended, Pipes, Process, Usage};
use crate::clock::Clock;
use crate::outcome::{EndingReport, FaultCount, InstanceReport, StopCount, Touch};

/// Pause between looks at processes that were told to end.
const LOOK: Duration = Duration::from_millis(10);

/// What of a build's work is on its way at a moment.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::drive) struct Flight {
    /// Events that were handed over and are not committed; none where the build never committed anything.
    pub(in crate::drive) open: Option<u64>,
    /// Events that are committed, likewise.
    pub(in crate::drive) committed: Option<u64>,
    /// Outputs that were written.
    pub(in crate::drive) outputs: u64,
    /// Up to when all this is known, in microseconds of the drive's clock.
    pub(in crate::drive) known_us: i64,
}

/// Where standard output and error of one process come, one pipe for each time it is started.
#[derive(Debug)]
pub(in crate::drive) struct Streams {
    pub(in crate::drive) stdout: Receiver<Pipe>,
    pub(in crate::drive) stderr: Receiver<Pipe>,
}

/// Where they are sent; none once it is not started again.
type Senders = Option<(Sender<Pipe>, Sender<Pipe>)>;

/// See the top of the file.
pub(in crate::drive) struct Crew<'a> {
    world: &'a World,
    job: &'a Job<'a>,
    clock: &'a dyn Clock,
    stops: Arc<Stops>,
    members: Vec<Member>,
    sheets: BTreeMap<String, Sheet>,
    /// Ended, and what came of it not known yet.
    open: Vec<Closing>,
    touches: Vec<Touch>,
    /// Processor time of processes that are gone.
    spent_us: u64,
    scraper: Option<Scraper>,
}

#[derive(Debug)]
struct Member {
    process: Process,
    stdin: Option<Pipe>,
    senders: Senders,
    /// Held as long as the process: what it started is known by them.
    pipes: [Pipe; 2],
    standing: Standing,
    starts: u64,
    status: Option<ExitStatus>,
    by_itself: bool,
}

/// How a process stands.
#[derive(Debug)]
enum Standing {
    Runs,
    /// Told to end, and killed from then on.
    Ending(Begun, i64),
    /// Gone, and started again then.
    Away(Begun, i64),
    /// Stopped, and sent on then.
    Frozen(Begun, i64),
}

/// An instance of a fault that goes on.
#[derive(Debug)]
struct Begun {
    due: Due,
    at_us: i64,
    flight: Flight,
}

/// An instance whose process has ended.
#[derive(Debug)]
struct Closing {
    fault: String,
    before: Flight,
    ended_us: i64,
}

/// What is noted of one fault.
#[derive(Debug, Default)]
struct Sheet {
    count: StopCount,
    instances: u64,
}

impl<'a> Crew<'a> {
    /// Starts all processes of `job`'s build in `world`. Returns with them where their standard output and error come.
    ///
    /// # Errors
    ///
    /// What the system says of the first that cannot be started; those ahead of it are ended.
    pub(in crate::drive) fn start(
        world: &'a World,
        job: &'a Job<'a>,
        stops: Arc<Stops>,
        clock: &'a dyn Clock,
    ) -> io::Result<(Self, Vec<Streams>)> {
        let (mut members, mut streams) = (Vec::new(), Vec::new());
        for instance in 0..job.build.instances() {
            let (process, Pipes { stdin, stdout, stderr }) = Process::start(world, job.build, instance)?;
            let pipes = [stdout.share()?, stderr.share()?];
            let ((out, stdouts), (err, stderrs)) = (channel(), channel());
            // Both ends are here.
            let _ = (out.send(stdout), err.send(stderr));
            streams.push(Streams { stdout: stdouts, stderr: stderrs });
            members.push(Member {
                process,
                stdin: Some(stdin),
                senders: Some((out, err)),
                pipes,
                standing: Standing::Runs,
                starts: 1,
                status: None,
                by_itself: false,
            });
        }
        let scraper = scraper(world, job, &stops)?;
        let sheets = stops.names().map(|name| (name.to_owned(), Sheet::default())).collect();
        let (open, touches) = (Vec::new(), Vec::new());
        Ok((Self { world, job, clock, stops, members, sheets, open, touches, spent_us: 0, scraper }, streams))
    }

    /// As [`Self::start`] for a build of one process.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(in crate::drive) fn start_one(
        world: &'a World,
        job: &'a Job<'a>,
        stops: Arc<Stops>,
        clock: &'a dyn Clock,
    ) -> io::Result<(Self, Streams)> {
        let (crew, streams) = Self::start(world, job, stops, clock)?;
        let first = streams.into_iter().next().ok_or(io::ErrorKind::InvalidInput)?;
        Ok((crew, first))
    }

    /// Takes standard input of the first process; otherwise it stays open, with nothing in it: some programs take its end for a request
    /// to stop.
    pub(in crate::drive) fn take_stdin(&mut self) -> Option<Pipe> {
        self.members.first_mut()?.stdin.take()
    }

    /// Whether a process has ended that nobody told to.
    pub(in crate::drive) fn has_ended(&mut self) -> bool {
        let mut any = false;
        for member in &mut self.members {
            if matches!(member.standing, Standing::Runs | Standing::Frozen(..)) && member.process.has_ended() {
                member.by_itself = true;
                any = true;
            }
        }
        any
    }

    /// The first process that ended by itself.
    pub(in crate::drive) fn first_to_end(&self) -> Option<usize> {
        self.members.iter().position(|member| member.by_itself)
    }

    /// Whether every process stands as it would without faults.
    pub(in crate::drive) fn is_complete(&self) -> bool {
        self.members.iter().all(|member| matches!(member.standing, Standing::Runs))
    }

    /// Does what is due, at `now_us` of the schedule's time; `away` is called once a process is gone, ahead of its next start. Returns
    /// whether one was started again.
    ///
    /// # Errors
    ///
    /// What the system says where one cannot be started again.
    pub(in crate::drive) fn step(
        &mut self,
        now_us: i64,
        flight: &dyn Fn() -> Flight,
        away: &dyn Fn(),
    ) -> io::Result<bool> {
        if !self.stops.any() {
            return Ok(false);
        }
        for due in self.stops.due(now_us) {
            self.begin(due, now_us, flight(), away);
        }
        let mut started = false;
        for index in 0..self.members.len() {
            started |= self.go_on(index, away)?;
        }
        self.close(flight(), false);
        Ok(started)
    }

    fn begin(&mut self, due: Due, now_us: i64, flight: Flight, away: &dyn Fn()) {
        let at_us = self.now_us();
        let member = self.members.get_mut(due.instance as usize);
        let Some(member) = member.filter(|member| matches!(member.standing, Standing::Runs)) else {
            // It is away already: one that comes meanwhile does not take place.
            self.stops.skip(&due, at_us);
            return;
        };
        let sheet = self.sheets.entry(due.fault.clone()).or_default();
        sheet.instances += 1;
        sheet.count.stops += 1;
        sheet.count.in_flight = add(sheet.count.in_flight, flight.open);
        self.touches.push(Touch {
            at_us: now_us,
            fault: due.fault.clone(),
            kind: due.kind.to_owned(),
            instance: sheet.instances,
            request: due.commit,
            ..Touch::default()
        });
        let length_us = micros(due.length);
        match due.what {
            What::Crash => {
                self.spent_us += member.process.cpu_us();
                self.world.kill(self.job, due.instance);
                member.end();
                self.stops.release(&due);
                let begun = Begun { due, at_us, flight };
                self.gone(begun);
                away();
            }
            What::Restart { grace } => {
                member.process.tell_to_end();
                member.standing = Standing::Ending(Begun { due, at_us, flight }, at_us + micros(grace));
            }
            What::Freeze => {
                member.process.freeze();
                member.standing = Standing::Frozen(Begun { due, at_us, flight }, at_us + length_us);
            }
        }
    }

    /// Notes that the process of an instance is gone.
    fn gone(&mut self, begun: Begun) {
        let ended_us = self.now_us();
        let (fault, before) = (begun.due.fault.clone(), begun.flight);
        self.open.push(Closing { fault, before, ended_us });
        let again_us = ended_us + micros(begun.due.length);
        if let Some(member) = self.members.get_mut(begun.due.instance as usize) {
            member.standing = Standing::Away(begun, again_us);
        }
    }

    /// Does what is due to one process; returns whether it was started again.
    fn go_on(&mut self, index: usize, away: &dyn Fn()) -> io::Result<bool> {
        let now_us = self.now_us();
        let member = &mut self.members[index];
        match std::mem::replace(&mut member.standing, Standing::Runs) {
            Standing::Ending(begun, until_us) => {
                let ended = member.process.has_ended();
                if !ended && now_us < until_us {
                    member.standing = Standing::Ending(begun, until_us);
                    return Ok(false);
                }
                self.spent_us += member.process.cpu_us();
                member.end();
                self.sheets.entry(begun.due.fault.clone()).or_default().count.killed += u64::from(!ended);
                self.gone(begun);
                away();
                // Where it is not to stay away.
                self.go_on(index, away)
            }
            Standing::Away(begun, again_us) => {
                if now_us < again_us {
                    member.standing = Standing::Away(begun, again_us);
                    return Ok(false);
                }
                let (process, Pipes { stdin, stdout, stderr }) =
                    Process::start(self.world, self.job.build, begun.due.instance)?;
                member.pipes = [stdout.share()?, stderr.share()?];
                (member.process, member.stdin) = (process, Some(stdin));
                member.starts += 1;
                if let Some((out, err)) = &member.senders {
                    // Whoever listened has ended only where the drive has.
                    let _ = (out.send(stdout), err.send(stderr));
                }
                self.over(&begun);
                Ok(true)
            }
            Standing::Frozen(begun, until_us) => {
                if now_us < until_us {
                    member.standing = Standing::Frozen(begun, until_us);
                    return Ok(false);
                }
                member.process.thaw();
                self.over(&begun);
                Ok(false)
            }
            Standing::Runs => Ok(false),
        }
    }

    fn over(&mut self, begun: &Begun) {
        let now_us = self.now_us();
        let count = &mut self.sheets.entry(begun.due.fault.clone()).or_default().count;
        count.resumed += 1;
        count.away_us_max = count.away_us_max.max(now_us - begun.at_us);
        self.stops.is_over(&begun.due, now_us);
    }

    /// Works out what came of processes that have ended, as far as that is known by now, or as `last` anyhow.
    fn close(&mut self, now: Flight, last: bool) {
        let sheets = &mut self.sheets;
        self.open.retain(|closing| {
            if !last && now.known_us < closing.ended_us {
                return true;
            }
            let count = &mut sheets.entry(closing.fault.clone()).or_default().count;
            count.drained += now.outputs.saturating_sub(closing.before.outputs);
            let committed = now.committed.map(|now| now.saturating_sub(closing.before.committed.unwrap_or(0)));
            count.committed = add(count.committed, committed);
            count.again = add(count.again, now.open);
            false
        });
    }

    /// No process is started again: nobody hears of its standard streams.
    pub(in crate::drive) fn start_no_more(&mut self) {
        self.members.iter_mut().for_each(|member| member.senders = None);
    }

    /// Figures that the processes offered since they were asked for last.
    pub(in crate::drive) fn offered(&self) -> Vec<(String, f64)> {
        self.scraper.as_ref().map_or_else(Vec::new, Scraper::take)
    }

    /// Takes what was touched since.
    pub(in crate::drive) fn take_touches(&mut self) -> Vec<Touch> {
        let mut touches = std::mem::take(&mut self.touches);
        touches.extend(self.world.wall_clock().into_iter().flat_map(|clock| clock.take_touches()));
        touches
    }

    /// Ends all at once where one has ended by itself: those that go on are told to, and have `grace` for it. How the one ended that did
    /// so by itself is what counts.
    pub(in crate::drive) fn end(&mut self, grace: Duration) -> Ended {
        self.stops.end();
        self.start_no_more();
        let gone = self.has_ended();
        if let Some(scraper) = &mut self.scraper {
            // While there is somebody to ask.
            scraper.end(gone);
        }
        for (instance, member) in (0..).zip(&mut self.members) {
            if matches!(member.standing, Standing::Frozen(..)) {
                member.process.thaw();
            }
            if !member.by_itself && !grace.is_zero() && !self.world.kill(self.job, instance) {
                member.process.tell_to_end();
            }
        }
        let from = self.clock.now();
        let waits = |members: &[Member]| members.iter().any(|member| !member.by_itself && !member.process.has_ended());
        while waits(&self.members) && self.clock.now().saturating_sub(from) < grace {
            thread::park_timeout(LOOK);
        }
        self.spent_us += self.members.iter().map(|member| member.process.cpu_us()).sum::<u64>();
        let all: Vec<Ended> = self.members.iter_mut().map(Member::end).collect();
        let first = self.members.iter().position(|member| member.by_itself).unwrap_or(0);
        Ended {
            status: all.get(first).and_then(|ended| ended.status),
            others: all.iter().any(|ended| ended.others),
            left: all.iter().map(|ended| ended.left).sum(),
        }
    }

    /// What all processes and all that they started use together; processor time of those that are gone counts.
    pub(in crate::drive) fn usage(&self) -> Option<Usage> {
        let all: Vec<Usage> = self.members.iter().filter_map(|member| member.process.usage()).collect();
        let sum = |figure: fn(&Usage) -> u64| all.iter().map(figure).sum::<u64>();
        (!all.is_empty()).then(|| Usage {
            processes: sum(|usage| usage.processes),
            cpu_us: self.spent_us + sum(|usage| usage.cpu_us),
            memory_bytes: sum(|usage| usage.memory_bytes),
            peak_bytes: sum(|usage| usage.memory_bytes)
                .max(all.iter().map(|usage| usage.peak_bytes).max().unwrap_or(0)),
        })
    }

    /// Processor time of processes that are gone, in microseconds: of all, once they were ended.
    pub(in crate::drive) fn spent_us(&self) -> u64 {
        self.spent_us
    }

    /// The most memory that any of the processes alone, without what it started, has ever used.
    pub(in crate::drive) fn peak_bytes(&self) -> Option<u64> {
        self.members.iter().filter_map(|member| member.process.peak_bytes()).max()
    }

    /// Adds what is known to the report of the ending, once all have ended. Positions that were handed out again are `again`, where that
    /// is known.
    pub(in crate::drive) fn report(&mut self, report: &mut EndingReport, now: Flight, again: Option<u64>) {
        self.close(now, true);
        for (fault, sheet) in &self.sheets {
            let instances = sheet.instances;
            let provoked = if again == Some(0) { 0 } else { instances };
            report.faults.insert(fault.clone(), FaultCount { instances, touched: instances, provoked });
            report.stops.insert(fault.clone(), sheet.count);
        }
        report.scrapes = self.scraper.as_ref().map(Scraper::count);
        if self.members.len() > 1 || self.members.iter().any(|member| member.starts > 1) {
            report.instances = (0..).zip(&self.members).map(|(instance, member)| member.report(instance)).collect();
        }
    }
}

impl Member {
    fn end(&mut self) -> Ended {
        let ended = self.process.end();
        self.status = ended.status;
        ended
    }

    fn report(&self, instance: u32) -> InstanceReport {
        use std::os::unix::process::ExitStatusExt;
        InstanceReport {
            instance,
            starts: self.starts,
            exit_code: self.status.and_then(|status| status.code()),
            signal: self.status.and_then(|status| status.signal()),
            by_itself: self.by_itself,
        }
    }
}

/// Who reads the figures that the build offers, where it says that it does.
fn scraper(world: &World, job: &Job<'_>, stops: &Arc<Stops>) -> io::Result<Option<Scraper>> {
    let Some(url) = job.build.metrics() else { return Ok(None) };
    let processes = job.build.instances();
    let place = |instance| Place::of(&world.fill(url, job.build.offers(), instance)?, instance, processes);
    let places = (0..processes).map(place).collect::<io::Result<Vec<_>>>()?;
    Scraper::start(places, world.isolation().cloned(), Arc::clone(stops)).map(Some)
}

fn add(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    other.map_or(one, |other| Some(one.unwrap_or(0) + other))
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4)
}

impl Crew<'_> {
    fn now_us(&self) -> i64 {
        micros(self.clock.now())
    }
}
