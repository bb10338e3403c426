//! Elsewhere than on Linux: no world, and the reason.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;

use super::IsolationError;
use super::settings::{IsolationMode, IsolationRules, Place};
use crate::drive::build::Build;
use crate::drive::world::Launcher;
use crate::outcome::{Isolation as Report, Layer};

const REASON: &str = "only Linux has what it is made of";

/// The world of one drive, which is the machine.
#[derive(Debug)]
pub(in crate::drive) struct Isolation {
    report: Report,
}

/// Nobody is asked to launch here.
pub fn launch_if_asked() -> Option<ExitCode> {
    None
}

/// Nobody is known to.
pub(in crate::drive) fn launcher_program() -> Option<PathBuf> {
    None
}

/// Nobody launches here.
pub fn launch_by(_: PathBuf) {}

impl Isolation {
    pub(in crate::drive) fn start(
        rules: &IsolationRules,
        _: &Build,
        _: &Path,
        drive: &str,
    ) -> Result<Self, IsolationError> {
        let off = rules.mode == IsolationMode::Off;
        let report = Report::none(if off { "`isolation = \"off\"`" } else { REASON });
        if !rules.hosts.is_empty() {
            return Err(IsolationError::Hosts { layer: Layer::Network.name(), reason: REASON.to_owned() });
        }
        if rules.mode == IsolationMode::Required {
            let missing = report.missing().cloned().collect();
            return Err(IsolationError::Missing { drive: drive.to_owned(), missing });
        }
        Ok(Self { report })
    }

    pub(in crate::drive) fn enforces(&self, _: Layer) -> bool {
        false
    }

    pub(in crate::drive) fn lead_to(&self, _: &Place) -> Result<(), IsolationError> {
        Ok(())
    }

    pub(in crate::drive) fn offer(&self, _: &str, _: SocketAddr) -> Result<(), IsolationError> {
        Ok(())
    }

    pub(in crate::drive) fn open(&self) -> io::Result<()> {
        Ok(())
    }

    pub(in crate::drive) fn lend(&self, _: u16) -> bool {
        false
    }

    pub(in crate::drive) fn join(&self, _: u16) -> Result<(), IsolationError> {
        Ok(())
    }

    pub(in crate::drive) fn listen(&self, address: SocketAddr) -> io::Result<TcpListener> {
        TcpListener::bind(address)
    }

    pub(in crate::drive) fn unconnected(&self, _: SocketAddr) -> io::Result<Option<TcpStream>> {
        Ok(None)
    }

    pub(in crate::drive) fn spawn(&self, command: &mut Command) -> io::Result<(Child, u32)> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let child = command.spawn()?;
        let number = child.id();
        Ok((child, number))
    }

    pub(in crate::drive) fn report(&self) -> Report {
        self.report.clone()
    }
}

impl Launcher for Arc<Isolation> {
    fn launch(&self, command: &mut Command) -> io::Result<(Child, u32)> {
        self.spawn(command)
    }

    fn listen(&self, at: SocketAddr) -> io::Result<TcpListener> {
        Isolation::listen(self, at)
    }
}
