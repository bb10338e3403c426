//! The calls of the system that take pointers and that no crate which is used here offers as safe ones.
//!
//! Each is a small function that owns, or borrows for as long as the call lasts, all that the system reads and writes.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::ioctl::{Opcode, Setter, Updater, ioctl, opcode};

/// `TUNSETIFF`, as `_IOW('T', 202, int)`.
const SET_INTERFACE: Opcode = 0x4004_54ca;

/// `SECCOMP_IOCTL_NOTIF_RECV`.
const NEXT: Opcode = opcode::read_write::<libc::seccomp_notif>(b'!', 0);

/// `SECCOMP_IOCTL_NOTIF_SEND`.
const ANSWER: Opcode = opcode::read_write::<libc::seccomp_notif_resp>(b'!', 1);

/// `SECCOMP_IOCTL_NOTIF_ID_VALID`.
const WAITS: Opcode = opcode::write::<u64>(b'!', 2);

/// `struct ifreq`, of which `TUNSETIFF` reads a name and flags.
#[repr(C)]
pub(super) struct Interface {
    pub(super) name: [u8; 16],
    pub(super) flags: u16,
    pub(super) unused: [u8; 22],
}

/// Has `file` be a device as `interface` says.
#[expect(unsafe_code, reason = "the system's call takes a pointer, and no crate that is used here offers it otherwise")]
pub(super) fn set_interface(file: &OwnedFd, interface: Interface) -> rustix::io::Result<()> {
    // SAFETY: `TUNSETIFF` reads and writes one `struct ifreq`, which `Interface` is in size and layout on Linux (40 bytes: a name of 16,
    // then a union whose first member here is a `short`), and keeps no pointer to it. `Setter` hands over a pointer to a value that
    // it owns until the call returns. The file is open as long as `file` is borrowed, and stays what it is.
    unsafe { ioctl(file, Setter::<SET_INTERFACE, Interface>::new(interface)) }
}

/// `struct mount_attr`.
#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    users: u64,
}

/// Has nothing below `tree`, an open mount, be written through it.
#[expect(unsafe_code, reason = "the system's call takes a pointer, and no crate that is used here offers it otherwise")]
pub(super) fn make_read_only(tree: &OwnedFd) -> io::Result<()> {
    const READ_ONLY: u64 = 1;
    const BELOW: libc::c_int = 0x8000;
    let attributes = MountAttributes { set: READ_ONLY, clear: 0, propagation: 0, users: 0 };
    let (tree, flags, size) = (tree.as_raw_fd(), libc::AT_EMPTY_PATH | BELOW, size_of::<MountAttributes>());
    // SAFETY: the call reads an empty path, which ends in a zero, and one `struct mount_attr` of the size that it is told; both live until
    // it returns, and it keeps no pointer to them.
    let done =
        unsafe { libc::syscall(libc::SYS_mount_setattr, tree, c"".as_ptr(), flags, &raw const attributes, size) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Has `filter` look at all calls of this thread and of what it starts from now on; returns where those are told of that it wants told.
#[expect(unsafe_code, reason = "the system's call takes a pointer, and no crate that is used here offers it otherwise")]
pub(super) fn tell_of_calls(filter: &mut [libc::sock_filter]) -> io::Result<OwnedFd> {
    let length = u16::try_from(filter.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog { len: length, filter: filter.as_mut_ptr() };
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    // SAFETY: the call reads one `struct sock_fprog` and as many instructions as that says, which `filter` holds; both live until it
    // returns, and the system keeps a copy of its own.
    let told = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    let told = i32::try_from(told).ok().filter(|told| *told >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: with this flag the call returns a new open file, which nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(told) })
}

/// The next call that waits at `listener`.
#[expect(unsafe_code, reason = "the system's call takes a pointer, and no crate that is used here offers it otherwise")]
pub(super) fn next_call(listener: BorrowedFd<'_>) -> rustix::io::Result<libc::seccomp_notif> {
    let data = libc::seccomp_data { nr: 0, arch: 0, instruction_pointer: 0, args: [0; 6] };
    let mut call = libc::seccomp_notif { id: 0, pid: 0, flags: 0, data };
    // SAFETY: the call writes one `struct seccomp_notif`, all zero ahead of it as it asks for, and keeps no pointer to it.
    unsafe { ioctl(listener, Updater::<NEXT, libc::seccomp_notif>::new(&mut call)) }?;
    Ok(call)
}

/// Whether the call `id` still waits: else its process may be another's by now.
#[expect(unsafe_code, reason = "the system's call takes a pointer, and no crate that is used here offers it otherwise")]
pub(super) fn waits(listener: BorrowedFd<'_>, id: u64) -> bool {
    // SAFETY: the call reads one number of 64 bits and keeps no pointer to it.
    unsafe { ioctl(listener, Setter::<WAITS, u64>::new(id)) }.is_ok()
}

/// Lets the call `id` go on as if nobody had looked.
#[expect(unsafe_code, reason = "the system's call takes a pointer, and no crate that is used here offers it otherwise")]
pub(super) fn go_on(listener: BorrowedFd<'_>, id: u64) -> rustix::io::Result<()> {
    let flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
    let mut answer = libc::seccomp_notif_resp { id, val: 0, error: 0, flags };
    // SAFETY: the call reads one `struct seccomp_notif_resp` and keeps no pointer to it.
    unsafe { ioctl(listener, Updater::<ANSWER, libc::seccomp_notif_resp>::new(&mut answer)) }
}
