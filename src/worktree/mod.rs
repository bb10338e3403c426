//! Trees that builds stand in: a revision of a git repository checked out and made once, or a folder as it is, and by what either is
//! known again.
//!
//! In come a [`Repository`] and a revision of it; out comes a [`Standing`], the folder of a tree in the user's cache that was made once
//! for this commit, these commands and this place in it, and is kept from everybody who would change it as long as it is used. What
//! never happens here: the user's own worktree, index or branches are written to (beside the list of worktrees that git keeps in the
//! repository); a tree is used that was not made to its end, or has been changed since; two programs make one tree at the same time.
//!
//! A folder as it is counts by the [`Changes`] that git sees in it, and by a [`Fingerprint`] of what git does not look at.

mod cache;
mod changes;
mod error;
mod fingerprint;
mod git;
mod lock;
#[cfg(test)]
mod tests;

pub use cache::{Cache, Standing, Step, Wanted};
pub use changes::{Changes, beside_git};
pub use error::WorktreeError;
pub use fingerprint::{Fingerprint, program_hash};
pub use git::{REDIRECTIONS, Repository};
