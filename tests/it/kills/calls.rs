//! libc's calls on files, each told ahead of it and behind it while a process watches itself.
//!
//! These functions stand in place of libc's in every program that holds this file: the standard library calls them, as does
//! librdkafka. Where nobody watches they hand everything on to the kernel, and so they do for files outside the folder.

#![expect(unsafe_code, reason = "libc's functions have C's signatures, and so have the kernel's")]

use std::ffi::CStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use libc::{c_char, c_int, c_long, c_void, mode_t, off64_t, size_t, ssize_t};

use super::steps::{Act, Object, Place, Record, Since, Step, There, Told};

/// Where records go: the other end of a pair of sockets, the standard input of the process.
const WATCHER: c_int = 0;

static WATCH: OnceLock<Watch> = OnceLock::new();

/// What is watched, and where to stop.
struct Watch {
    folder: String,
    /// Held while a step is taken: they are told one after the other.
    progress: Mutex<Progress>,
    asked: AtomicBool,
    /// Held while a record is sent.
    sending: Mutex<()>,
}

struct Progress {
    place: Option<Place>,
    segment_made: bool,
}

/// Tells every step on what is in `folder` from now on, and stops at `place`.
pub(crate) fn watch(folder: &str, place: Option<Place>) {
    let progress = Mutex::new(Progress { place, segment_made: false });
    let watch = Watch { folder: folder.to_owned(), progress, asked: AtomicBool::new(false), sending: Mutex::new(()) };
    assert!(WATCH.set(watch).is_ok(), "a process watches itself once");
}

/// Says something between the steps.
pub(crate) fn say(text: String) {
    if let Some(watch) = WATCH.get() {
        watch.send(Told::Said(text));
    }
}

/// Notes that the process was asked to seal.
pub(crate) fn asked() {
    if let Some(watch) = WATCH.get() {
        watch.asked.store(true, Ordering::SeqCst);
    }
}

/// Time of the monotonic clock, which is the same in all processes.
pub(crate) fn now_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is one, and lives as long as the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

impl Watch {
    fn send(&self, told: Told) {
        let _sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = Record { at_ns: now_ns(), told }.encode();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            // SAFETY: the slice is as long as is said.
            let sent = unsafe { libc::syscall(libc::SYS_write, WATCHER, rest.as_ptr(), rest.len()) };
            match usize::try_from(sent) {
                Ok(sent) => rest = &rest[sent..],
                // SAFETY: ends the process; nobody watches it any more.
                Err(_) => unsafe { libc::_exit(3) },
            }
        }
    }

    /// Takes a step, told ahead of it and behind it.
    fn take(&self, step: Step, act: impl FnOnce() -> c_long) -> c_long {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let there = self.count_down(&mut progress, &step);
        self.send(Told::Begun(step));
        if there == Some(There::GoOn) {
            self.send(Told::There);
        }
        if there == Some(There::Ahead) {
            self.stand();
        }
        let result = act();
        // SAFETY: the place of this thread's error number is always there.
        let error = unsafe { *libc::__errno_location() };
        self.send(Told::Done(result));
        if there == Some(There::Behind) {
            self.stand();
        }
        // SAFETY: as above. What was sent since must not change what the caller sees.
        unsafe { *libc::__errno_location() = error };
        result
    }

    fn count_down(&self, progress: &mut Progress, step: &Step) -> Option<There> {
        let object = Object::at(&step.path);
        progress.segment_made |= (step.act, object) == (Act::Create, Object::Segment);
        let place = progress.place.as_mut()?;
        let counts = match place.since {
            Since::Start => true,
            Since::Segment => progress.segment_made,
            Since::Asked => self.asked.load(Ordering::SeqCst),
        };
        if !counts || (place.act, place.object) != (step.act, object) {
            return None;
        }
        place.count -= 1;
        let there = (place.count == 0).then_some(place.there);
        if there.is_some() {
            progress.place = None;
        }
        there
    }

    /// Stands still until killed.
    fn stand(&self) -> ! {
        self.send(Told::There);
        loop {
            // SAFETY: waits for a signal.
            unsafe { libc::pause() };
        }
    }

    fn holds(&self, path: &str) -> bool {
        path.strip_prefix(&self.folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// The path, where it is watched.
///
/// # Safety
///
/// `path` must be a string as C has them.
unsafe fn watched(path: *const c_char) -> Option<(&'static Watch, String)> {
    let watch = WATCH.get()?;
    // SAFETY: as promised.
    let path = unsafe { CStr::from_ptr(path) }.to_str().ok()?;
    watch.holds(path).then(|| (watch, path.to_owned()))
}

/// The path, taken from an open folder where it does not begin at the root, where it is watched.
///
/// # Safety
///
/// As of [`watched`].
unsafe fn watched_in(folder: c_int, path: *const c_char) -> Option<(&'static Watch, String)> {
    // SAFETY: as promised.
    let name = unsafe { CStr::from_ptr(path) }.to_str().ok()?;
    if folder == libc::AT_FDCWD || name.starts_with('/') {
        // SAFETY: as promised.
        return unsafe { watched(path) };
    }
    let (watch, above) = watched_file(folder)?;
    Some((watch, format!("{above}/{name}")))
}

/// The path of an open file, where it is watched.
fn watched_file(file: c_int) -> Option<(&'static Watch, String)> {
    let watch = WATCH.get()?;
    let mut path = [0_u8; 1024];
    let link = format!("/proc/self/fd/{file}\0");
    // SAFETY: the link ends with a zero, and the buffer is as long as is said.
    let length =
        unsafe { libc::syscall(libc::SYS_readlinkat, libc::AT_FDCWD, link.as_ptr(), path.as_mut_ptr(), path.len()) };
    let path = std::str::from_utf8(path.get(..usize::try_from(length).ok()?)?).ok()?;
    watch.holds(path).then(|| (watch, path.to_owned()))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: what the caller promises libc is handed on as it is, here and below.
    let act = || unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path, flags, mode) };
    // SAFETY: as above.
    let result = match unsafe { watched(path) } {
        Some((watch, name)) if flags & (libc::O_CREAT | libc::O_TRUNC) != 0 => {
            // SAFETY: as above.
            let there = unsafe { libc::syscall(libc::SYS_faccessat, libc::AT_FDCWD, path, libc::F_OK) } == 0;
            match there {
                true if flags & libc::O_TRUNC != 0 => watch.take(Step::new(Act::Truncate, name), act),
                true => act(),
                false => watch.take(Step::new(Act::Create, name), act),
            }
        }
        _ => act(),
    };
    result as c_int
}

#[unsafe(no_mangle)]
unsafe extern "C" fn write(file: c_int, bytes: *const c_void, count: size_t) -> ssize_t {
    // SAFETY: as in `open64`.
    let act = || unsafe { libc::syscall(libc::SYS_write, file, bytes, count) };
    let result = match watched_file(file) {
        Some((watch, name)) => {
            // SAFETY: the caller hands over `count` bytes.
            let written = unsafe { std::slice::from_raw_parts(bytes.cast::<u8>(), count) };
            // SAFETY: asks where the file stands and changes nothing.
            let at = unsafe { libc::syscall(libc::SYS_lseek, file, 0, libc::SEEK_CUR) };
            let step = Step { number: at.cast_unsigned(), bytes: written.to_vec(), ..Step::new(Act::Write, name) };
            watch.take(step, act)
        }
        None => act(),
    };
    result as ssize_t
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ftruncate64(file: c_int, length: off64_t) -> c_int {
    // SAFETY: as in `open64`.
    let act = || unsafe { libc::syscall(libc::SYS_ftruncate, file, length) };
    let result = match watched_file(file) {
        Some((watch, name)) => {
            watch.take(Step { number: length.cast_unsigned(), ..Step::new(Act::Truncate, name) }, act)
        }
        None => act(),
    };
    result as c_int
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fsync(file: c_int) -> c_int {
    // SAFETY: as in `open64`.
    let act = || unsafe { libc::syscall(libc::SYS_fsync, file) };
    let result = match watched_file(file) {
        Some((watch, name)) => watch.take(Step::new(Act::Sync, name), act),
        None => act(),
    };
    result as c_int
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fdatasync(file: c_int) -> c_int {
    // SAFETY: as in `open64`.
    let act = || unsafe { libc::syscall(libc::SYS_fdatasync, file) };
    let result = match watched_file(file) {
        Some((watch, name)) => watch.take(Step::new(Act::Sync, name), act),
        None => act(),
    };
    result as c_int
}

#[unsafe(no_mangle)]
unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    // SAFETY: as in `open64`.
    let act = || unsafe { libc::syscall(libc::SYS_renameat2, libc::AT_FDCWD, from, libc::AT_FDCWD, to, 0) };
    // SAFETY: as above.
    let result = match (unsafe { watched(from) }, unsafe { watched(to) }) {
        (Some((watch, from)), Some((_, to))) => {
            watch.take(Step { bytes: to.into_bytes(), ..Step::new(Act::Rename, from) }, act)
        }
        _ => act(),
    };
    result as c_int
}

#[unsafe(no_mangle)]
unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    // SAFETY: as in `open64`.
    let act = || unsafe { libc::syscall(libc::SYS_unlinkat, libc::AT_FDCWD, path, 0) };
    // SAFETY: as above.
    let result = match unsafe { watched(path) } {
        Some((watch, name)) => watch.take(Step::new(Act::Remove, name), act),
        None => act(),
    };
    result as c_int
}

#[unsafe(no_mangle)]
unsafe extern "C" fn unlinkat(folder: c_int, path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: as in `open64`.
    let act = || unsafe { libc::syscall(libc::SYS_unlinkat, folder, path, flags) };
    // SAFETY: as above.
    let result = match unsafe { watched_in(folder, path) } {
        Some((watch, name)) => watch.take(Step::new(Act::Remove, name), act),
        None => act(),
    };
    result as c_int
}

#[unsafe(no_mangle)]
unsafe extern "C" fn rmdir(path: *const c_char) -> c_int {
    // SAFETY: as in `open64`.
    unsafe { unlinkat(libc::AT_FDCWD, path, libc::AT_REMOVEDIR) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn mkdir(path: *const c_char, mode: mode_t) -> c_int {
    // SAFETY: as in `open64`.
    let act = || unsafe { libc::syscall(libc::SYS_mkdirat, libc::AT_FDCWD, path, mode) };
    // SAFETY: as above.
    let result = match unsafe { watched(path) } {
        Some((watch, name)) => watch.take(Step::new(Act::MakeFolder, name), act),
        None => act(),
    };
    result as c_int
}
