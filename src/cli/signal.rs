//! Ctrl-C: the first asks every drive to stop and keeps what was written, the second ends the program and all builds at once.

use std::thread;

use crate::clock::Stop;
use crate::drive::end_all_builds;

/// Raises `stop` at the first interrupt or termination; a second one ends the program with the code a shell expects.
pub(super) fn raise_on_interrupt(stop: &Stop) {
    let stop = stop.clone();
    let watch = move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            let Some(mut interrupts) = Interrupts::watch() else { return };
            interrupts.next().await;
            stop.raise();
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
    signals: [tokio::signal::unix::Signal; 2],
}

#[cfg(unix)]
impl Interrupts {
    fn watch() -> Option<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Some(Self { signals: [signal(SignalKind::interrupt()).ok()?, signal(SignalKind::terminate()).ok()?] })
    }

    async fn next(&mut self) {
        use std::task::Poll;
        std::future::poll_fn(|context| {
            // Both are asked, so that either wakes the thread.
            let came = self.signals.each_mut().map(|signal| signal.poll_recv(context).is_ready());
            if came.contains(&true) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
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
