//! Ctrl-C, a termination and a terminal that closes: the first asks every drive to stop and keeps what was written, the second
//! ends the program and all builds at once. Where nothing is driven, captured or compared the first does.

use std::thread;

use super::exit::{Code, Failure};
use super::printer::Printer;
use crate::clock::Stop;
use crate::drive::end_all_builds;

/// Raises `stop` at the first interrupt, termination or hang-up; a second one ends the program with the code a shell expects.
pub(super) fn raise_on_interrupt(stop: &Stop) {
    let stop = stop.clone();
    let watch = move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            let Some(mut interrupts) = Interrupts::watch() else { return };
            interrupts.next().await;
            stop.raise();
            if !stop.heeded() {
                // Nothing runs that would have to be ended, and what is computed meanwhile may take minutes.
                Printer::new().failure(&Failure::surroundings(
                    "stopped before there was a result; what was written is kept",
                    "Run it again for a verdict.",
                ));
                std::process::exit(Code::Surroundings as i32);
            }
            interrupts.next().await;
            end_all_builds();
            std::process::exit(130);
        });
    };
    // Without this thread Ctrl-C ends the program as it ends any other: nothing to refuse a run for.
    let _ = thread::Builder::new().name("signals".into()).spawn(watch);
}

#[cfg(unix)]
struct Interrupts {
    signals: Vec<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Interrupts {
    fn watch() -> Option<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut signals = vec![signal(SignalKind::interrupt()).ok()?, signal(SignalKind::terminate()).ok()?];
        // Builds have process groups of their own: without this they would outlive the terminal that they were started from.
        if !hang_ups_are_ignored() {
            signals.push(signal(SignalKind::hangup()).ok()?);
        }
        Some(Self { signals })
    }

    async fn next(&mut self) {
        use std::task::Poll;
        std::future::poll_fn(|context| {
            // Both are asked, so that either wakes the thread.
            let came = self.signals.iter_mut().filter_map(|signal| signal.poll_recv(context).is_ready().then_some(()));
            if came.count() > 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// Whether whoever started the program wants it to go on without its terminal, as `nohup` does; where nobody can tell, not.
#[cfg(unix)]
fn hang_ups_are_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // Bit n stands for signal n + 1, and a hang-up is signal 1.
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

#[cfg(not(unix))]
struct Interrupts;

#[cfg(not(unix))]
impl Interrupts {
    fn watch() -> Option<Self> {
        Some(Self)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}
