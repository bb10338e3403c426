//! By what builds are known, in words.

use super::figures::cut;
use super::{BuildFacts, OldFacts, Report, SourceFacts};

/// Characters of a hash that are shown: `run.json` has all.
const SHORT: usize = 12;

/// Characters of all flags of a build that are shown.
const FLAGS_MAX: usize = 200;

/// Writes what tells a build from others in one line, such as `commit 3210b358a17a (main), program 1d04d092b644, environment
/// 1db4e7b0f5c3`; empty where nothing does.
pub(super) fn known_by(build: &BuildFacts) -> String {
    let mut parts: Vec<String> = build.source.as_ref().map(source).into_iter().collect();
    parts.extend(build.program_hash.as_deref().map(|hash| format!("program {}", short(hash))));
    if !build.flags.is_empty() {
        let flags: Vec<String> = build.flags.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        parts.push(cut(&format!("flags {}", flags.join(" and ")), FLAGS_MAX).into_owned());
    }
    if !build.env_hash.is_empty() {
        parts.push(format!("environment {}", short(&build.env_hash)));
    }
    parts.join(", ")
}

/// Writes what a build was made of.
pub(super) fn source(source: &SourceFacts) -> String {
    let revision = source.revision.as_ref().map(|revision| format!(" ({revision})")).unwrap_or_default();
    let changes = match &source.changes_hash {
        Some(hash) => format!(" with changes {}", short(hash)),
        None if source.dirty => " with changes".to_owned(),
        None => String::new(),
    };
    format!("commit {}{revision}{changes}", short(&source.commit))
}

/// Says where the outcome of old comes from, where there is something to say.
pub(super) fn outcome_of_old(report: &Report) -> Option<String> {
    let OldFacts { used_again_from, driven_because, .. } = report.outcome_of_old.as_ref()?;
    match used_again_from {
        Some(run) => Some(format!("used again from {run}")),
        None if driven_because.is_empty() => None,
        None => Some(format!("driven: {driven_because}")),
    }
}

fn short(hash: &str) -> &str {
    hash.get(..SHORT).unwrap_or(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_known_by_its_commit_its_changes_its_program_its_flags_and_its_environment() {
        let mut build = BuildFacts {
            name: "pay".into(),
            command: Vec::new(),
            program_hash: Some("ab".repeat(32)),
            source: Some(SourceFacts {
                revision: Some("main".into()),
                commit: "0123456789abcdef".into(),
                directory: String::new(),
                dirty: false,
                changes_hash: None,
            }),
            flags: [("fast".to_owned(), true.into())].into(),
            env_names: Vec::new(),
            env_hash: "cd".repeat(32),
        };
        let known = "commit 0123456789ab (main), program abababababab, flags fast = true, environment cdcdcdcdcdcd";
        assert_eq!(known_by(&build), known);
        let changed = SourceFacts {
            revision: None,
            commit: "0123456789abcdef".into(),
            directory: String::new(),
            dirty: true,
            changes_hash: Some("ef".repeat(32)),
        };
        assert_eq!(source(&changed), "commit 0123456789ab with changes efefefefefef");
        (build.source, build.program_hash, build.env_hash) = (None, None, String::new());
        build.flags.clear();
        assert_eq!(known_by(&build), "");
    }
}
