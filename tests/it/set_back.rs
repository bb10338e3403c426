//! A capture whose machine's wall clock is set back while topics are idle: what it waits for goes by the monotonic clock.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rehearsal::recording::{Columns, Recording};
use rehearsal::samples::{Broker, fill};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;
use tempfile::TempDir;

/// Much longer than anything here takes, and much shorter than the clock is set back by.
const WAIT: Duration = Duration::from_secs(40);

const HOUR_S: i64 = 3_600;

/// A wall clock that can be set without setting the machine's: by as many seconds as stand in a file, 8 bytes long. As in the kernel, whoever
/// waits for a time of it waits until it says so, however it is set meanwhile.
const CLOCK: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>

static int64_t set_by(void) {
    static volatile int64_t *seconds;
    if (!seconds) seconds = mmap(NULL, 8, PROT_READ, MAP_SHARED, open(getenv("CLOCK_SET_BY"), O_RDONLY), 0);
    return *seconds;
}
static int machine(clockid_t which, struct timespec *now) {
    static int (*of_libc)(clockid_t, struct timespec *);
    if (!of_libc) of_libc = dlsym(RTLD_NEXT, "clock_gettime");
    return of_libc(which, now);
}
int clock_gettime(clockid_t which, struct timespec *now) {
    int result = machine(which, now);
    if (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE) now->tv_sec += set_by();
    return result;
}
int timespec_get(struct timespec *now, int base) {
    clock_gettime(CLOCK_REALTIME, now);
    return base;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *now) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (now) *now = exact.tv_sec;
    return exact.tv_sec;
}
int cnd_timedwait(cnd_t *condition, mtx_t *held, const struct timespec *until) {
    static int (*of_libc)(cnd_t *, mtx_t *, const struct timespec *);
    if (!of_libc) of_libc = dlsym(RTLD_NEXT, "cnd_timedwait");
    for (;;) {
        struct timespec now;
        machine(CLOCK_REALTIME, &now);
        int64_t left = (until->tv_sec - set_by() - now.tv_sec) * 1000000000 + until->tv_nsec - now.tv_nsec;
        if (left <= 0) return thrd_timedout;
        now.tv_nsec += left < 5000000 ? left : 5000000;
        if (now.tv_nsec >= 1000000000) now.tv_sec++, now.tv_nsec -= 1000000000;
        int result = of_libc(condition, held, &now);
        if (result != thrd_timedout) return result;
    }
}
"#;

/// Builds the clock in `folder`.
fn clock(folder: &Path) -> PathBuf {
    let (source, library) = (folder.join("clock.c"), folder.join("clock.so"));
    std::fs::write(&source, CLOCK).unwrap();
    let built =
        Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).args([&library, &source]).arg("-ldl").status();
    assert!(built.unwrap().success());
    library
}

/// A capture that is ended with the test.
struct Capture(Child, Receiver<Json>);

impl Capture {
    /// Waits for an event of its output.
    fn until(&self, event: &str, holds: impl Fn(&Json) -> bool) {
        loop {
            let line = self.1.recv_timeout(WAIT).unwrap_or_else(|error| panic!("no {event} came: {error}"));
            if line["event"] == event && holds(&line) {
                return;
            }
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_came_ahead_of_a_wall_clock_that_is_set_back_is_put_on_the_disk_in_time() {
    let folder = TempDir::new().unwrap();
    let set_by = folder.path().join("set-by");
    std::fs::write(&set_by, 0_i64.to_ne_bytes()).unwrap();
    // In its place: the program has the file in its memory.
    let held = File::options().write(true).open(&set_by).unwrap();
    let set = |seconds: i64| held.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    let small = Recording::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings/small")).unwrap();
    let broker = Broker::start_for(&small).unwrap();
    assert_eq!(fill(broker.brokers(), &small, &mut |_| {}).unwrap(), 300);
    let mut child = Command::new(env!("CARGO_BIN_EXE_rehearsal"))
        .args(["capture", "--brokers", broker.brokers(), "--topic", "payments", "--follow", "--json", "--out"])
        .arg(folder.path().join("out"))
        // The in-process broker waits the whole time it is allowed at the end of a partition.
        .args(["-X", "fetch.wait.max.ms=10"])
        .env("LD_PRELOAD", clock(folder.path()))
        .env("CLOCK_SET_BY", &set_by)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(child.stdout.take().unwrap());
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for line in said.lines().map_while(Result::ok) {
            if tell.send(serde_json::from_str(&line).unwrap()).is_err() {
                return;
            }
        }
    });
    let mut capture = Capture(child, told);
    capture.until("caught-up", |line| line["events"] == 300);
    // Nothing comes any more, and what came is not on the disk yet.
    set(-HOUR_S);
    capture.until("checkpoint", |line| line["events"] == 300);
    // What comes is taken as before, and a word to stop is heard.
    assert_eq!(fill(broker.brokers(), &small, &mut |_| {}).unwrap(), 300);
    capture.until("checkpoint", |line| line["events"] == 600);
    set(-2 * HOUR_S);
    kill_process(Pid::from_child(&capture.0), Signal::INT).unwrap();
    capture.until("summary", |line| line["ending"] == "stopped");
    assert!(capture.0.wait().unwrap().success());
    let recording = Recording::open(folder.path().join("out")).unwrap();
    assert_eq!(recording.verify().unwrap(), []);
    let batches: Vec<_> = recording.batches(Columns::ALL).map(Result::unwrap).collect();
    let came_us: Vec<i64> =
        batches.iter().flat_map(|batch| batch.iter().filter_map(|event| event.captured_at_us)).collect();
    assert_eq!(came_us.len(), 600);
    // The clock was set, as the program saw it.
    let (first, last) = (came_us[0], came_us[599]);
    assert!((1_000_000 * (HOUR_S - 600)..=1_000_000 * HOUR_S).contains(&(first - last)), "{first} {last}");
}
