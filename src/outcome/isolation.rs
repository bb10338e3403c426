//! How far a drive was kept to itself: layers, attempts to leave, and addresses it was let through to.

use serde::{Deserialize, Serialize};

/// A layer of isolation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    /// A network of its own, from which nothing leads out but what is allowed.
    Network,
    /// Names of hosts of its own: `hosts`, `resolv.conf` and who answers for them.
    Names,
    /// Unix sockets of the machine are out of reach.
    Sockets,
    /// Temporary folders and shared memory of its own.
    Temporary,
    /// Processes of its own, all of which end with the drive.
    Processes,
    /// Nothing is written outside of the drive's folder.
    Writes,
    /// What tries to leave the network is seen, with address and port.
    Attempts,
}

impl Layer {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 7] =
        [Self::Network, Self::Names, Self::Sockets, Self::Temporary, Self::Processes, Self::Writes, Self::Attempts];

    /// Its name, as reports and settings spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Names => "names",
            Self::Sockets => "sockets",
            Self::Temporary => "temporary",
            Self::Processes => "processes",
            Self::Writes => "writes",
            Self::Attempts => "attempts",
        }
    }

    /// Whether a drive is less isolated without it. To see attempts refuses nothing.
    pub fn refuses(self) -> bool {
        self != Self::Attempts
    }
}

/// Whether a layer was there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerState {
    /// Which.
    pub layer: Layer,
    /// Whether it was in force from the build's start to its end.
    pub enforced: bool,
    /// Why not; or, where it was, what it leaves open.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// What a build tried to reach and could not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// How it tried.
    pub kind: AttemptKind,
    /// An address with its port, a name that was asked for, or the path of a socket.
    pub target: String,
    /// How often; a connection that is tried again counts again.
    pub count: u64,
    /// When it was first seen, in microseconds since the drive began.
    pub first_us: i64,
}

/// How a build tried to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttemptKind {
    /// A connection over TCP.
    Tcp,
    /// A datagram.
    Udp,
    /// Another protocol of IP, such as a ping.
    Ip,
    /// A name that was asked for.
    Name,
    /// A Unix socket of the machine.
    Socket,
}

/// Something outside that a build was let through to: an address, or a path that it may write to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowed {
    /// Host and port, as `allow` names them; or a path that `writable` names.
    pub address: String,
    /// Whether what follows was counted: paths are not, nor is an address where the drive had no network of its own.
    #[serde(default = "counted")]
    pub counted: bool,
    /// Connections that the build made to it.
    pub connections: u64,
    /// Those of them that could not be made on.
    #[serde(default)]
    pub failed: u64,
    /// Bytes that went out.
    pub bytes_out: u64,
    /// Bytes that came in.
    pub bytes_in: u64,
    /// Whether it was made known as shared by all drives (`shared = true`), or belongs to the drive alone.
    #[serde(default)]
    pub shared: bool,
}

fn counted() -> bool {
    true
}

impl Allowed {
    /// Whether the build reached it, or may have.
    pub fn is_reached(&self) -> bool {
        !self.counted || self.connections > self.failed
    }
}

/// How far a drive was kept to itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Isolation {
    /// Each layer, in the order of [`Layer::ALL`].
    pub layers: Vec<LayerState>,
    /// What the build tried to reach and could not, by kind and target.
    #[serde(default)]
    pub attempts: Vec<Attempt>,
    /// Attempts at further targets, which are only counted.
    #[serde(default)]
    pub attempts_beyond: u64,
    /// Addresses it was let through to, in order.
    #[serde(default)]
    pub allowed: Vec<Allowed>,
}

impl Isolation {
    /// A drive without any layer, for one reason.
    pub fn none(reason: &str) -> Self {
        let state = |layer| LayerState { layer, enforced: false, reason: reason.to_owned() };
        Self { layers: Layer::ALL.into_iter().map(state).collect(), ..Self::default() }
    }

    /// Whether a layer was in force.
    pub fn enforces(&self, layer: Layer) -> bool {
        self.layers.iter().any(|state| state.layer == layer && state.enforced)
    }

    /// Layers that refuse something and were not in force.
    pub fn missing(&self) -> impl Iterator<Item = &LayerState> {
        self.layers.iter().filter(|state| !state.enforced && state.layer.refuses())
    }
}
