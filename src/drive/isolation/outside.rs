//! Who watches a world's edges: answers questions for names, refuses packets that lead nowhere, and closes the machine's sockets.

use std::io::{self, Read, Write};
use std::net::UdpSocket;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rustix::event::{PollFd, PollFlags, poll};

use super::attempts::Attempts;
use super::names::Names;
use crate::outcome::AttemptKind;

/// Longest packet.
const PACKET_BYTES: usize = 64 << 10;

/// Packets taken at once before somebody else gets a turn.
const PACKETS_AT_ONCE: usize = 256;

/// A thread that watches; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Watcher {
    wake: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

/// What is watched.
#[derive(Debug, Default)]
pub(super) struct Edges {
    /// Questions for names.
    pub(super) questions: Option<UdpSocket>,
    pub(super) names: Arc<Mutex<Names>>,
    /// Where packets come that lead nowhere.
    pub(super) device: Option<OwnedFd>,
    /// In place of the machine's sockets.
    pub(super) sockets: Vec<(PathBuf, UnixListener)>,
}

impl Watcher {
    pub(super) fn start(edges: Edges, attempts: Arc<Attempts>) -> io::Result<Self> {
        let (wake, woken) = UnixStream::pair()?;
        for (_, listener) in &edges.sockets {
            listener.set_nonblocking(true)?;
        }
        if let Some(questions) = &edges.questions {
            questions.set_nonblocking(true)?;
        }
        let watch = move || edges.watch(&woken, &attempts);
        let thread = thread::Builder::new().name("edges".to_owned()).stack_size(512 << 10).spawn(watch)?;
        Ok(Self { wake: Some(wake), thread: Some(thread) })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.wake.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Edges {
    fn watch(mut self, woken: &UnixStream, attempts: &Attempts) {
        let mut device = self.device.take().map(std::fs::File::from);
        let mut packet = vec![0; PACKET_BYTES];
        loop {
            let mut ready = vec![PollFd::new(woken, PollFlags::IN)];
            ready.extend(self.questions.iter().map(|socket| PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN)));
            ready.extend(device.iter().map(|file| PollFd::from_borrowed_fd(file.as_fd(), PollFlags::IN)));
            ready.extend(self.sockets.iter().map(|(_, one)| PollFd::from_borrowed_fd(one.as_fd(), PollFlags::IN)));
            let polled = poll(&mut ready, None);
            // What was noted up to the end counts: whoever wakes this wants to see all of it.
            let over = !ready[0].revents().is_empty() || polled.is_err_and(|error| error != rustix::io::Errno::INTR);
            drop(ready);
            self.answer(&mut packet, attempts);
            if let Some(device) = &mut device {
                refuse(device, &mut packet, attempts);
            }
            self.close_sockets(attempts);
            if over {
                return;
            }
        }
    }

    fn answer(&self, packet: &mut [u8], attempts: &Attempts) {
        let Some(socket) = &self.questions else { return };
        for _ in 0..PACKETS_AT_ONCE {
            let Ok((length, from)) = socket.recv_from(packet) else { return };
            let answer = self.names.lock().unwrap_or_else(PoisonError::into_inner).answer(&packet[..length]);
            let Some((unknown, answer)) = answer else { continue };
            if let Some(name) = unknown {
                attempts.note(AttemptKind::Name, &name);
            }
            // Who asked and is gone needs no answer.
            let _ = socket.send_to(&answer, from);
        }
    }

    fn close_sockets(&self, attempts: &Attempts) {
        for (path, listener) in &self.sockets {
            for _ in 0..PACKETS_AT_ONCE {
                let Ok((stream, _)) = listener.accept() else { break };
                attempts.note(AttemptKind::Socket, &path.to_string_lossy());
                drop(stream);
            }
        }
    }
}

fn refuse(device: &mut std::fs::File, packet: &mut [u8], attempts: &Attempts) {
    for _ in 0..PACKETS_AT_ONCE {
        let Ok(length) = device.read(packet) else { return };
        if let Some(answer) = attempts.refuse(&packet[..length]) {
            // A queue that is full loses it, as networks do: whoever waits tries again.
            let _ = device.write(&answer);
        }
    }
}
