//! Events to the same events without what nobody may see.
//!
//! In come events and outputs, one after the other ([`Masker::mask`]); out comes what may be kept of each. [`rewrite()`] takes a
//! whole recording. Capture masks before anything touches the disk, and drives mask what builds write. What never happens here:
//! a byte changes that no rule names; the key of a [`Policy`], or anything that was masked, is shown.
//!
//! Headers that carry credentials (`Authorization`, `Proxy-Authorization`, `Cookie`, `Set-Cookie`) are redacted with any policy
//! and without; the manifest says how often.

mod credentials;
mod detect;
mod edit;
mod error;
mod log;
mod masker;
mod method;
mod path;
mod remembered;
mod rewrite;
#[cfg(test)]
mod sample;
mod scan;
mod secret;
mod settings;
mod sightings;
mod times;
mod topics;
mod tracing;

pub use credentials::{carries_credentials, redact_line as redact_credentials, redact_named as redact_secrets};
pub use detect::Detected;
pub use error::MaskError;
pub use log::LogMask;
pub use masker::{Masked, Masker, Parts, Unread};
pub use rewrite::{RewriteError, RewriteReport, rewrite};
pub use secret::MaskKey;
pub use settings::{Form, KeepSettings, MethodName, Otherwise, Policy, PolicySettings, RuleSettings};
pub use sightings::Sighting;
pub use times::{Moved, TimePath, TimeUnit, Times};

/// What is done about data that looks personal and that no rule masked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Detection {
    /// Nobody looks.
    Off,
    /// It is counted by topic and path.
    #[default]
    Warn,
    /// The first of it is an error.
    Refuse,
}
