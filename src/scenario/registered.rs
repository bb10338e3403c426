//! What builds registered with the schema registries of their drives.

use std::collections::{BTreeMap, BTreeSet};

use crate::outcome::{EndingReport, RegisteredSchema};
use crate::report::RegistryFacts;

/// Paths that a warning names.
const NAMED_MAX: usize = 3;

/// Gathers what each drive registered; none where no drive asked a registry for anything.
pub(super) fn facts<'a>(endings: impl Iterator<Item = (&'a str, &'a EndingReport)>) -> Option<RegistryFacts> {
    let mut cut = false;
    let drives: BTreeMap<String, Vec<RegisteredSchema>> = endings
        .filter_map(|(drive, ending)| {
            let registry = ending.registry.as_ref()?;
            // Of what is not told one by one nobody can say whether the other build registers it.
            cut |= registry.untold > 0;
            Some((drive.to_owned(), registry.registered.clone()))
        })
        .collect();
    (!drives.is_empty()).then(|| RegistryFacts { says: if cut { Vec::new() } else { says(&drives) }, drives })
}

/// Says where old and new register other schemas, and what each that is not old's is to those that are there.
fn says(drives: &BTreeMap<String, Vec<RegisteredSchema>>) -> Vec<String> {
    let of = |drive: &str| drives.get(drive).map_or(&[][..], Vec::as_slice);
    let known = |schemas: &[RegisteredSchema]| -> BTreeSet<(String, String)> {
        schemas.iter().map(|one| (one.subject.clone(), one.schema.clone())).collect()
    };
    let (old, new) = (of("old"), of("new"));
    let (of_old, of_new) = (known(old), known(new));
    let mut says = Vec::new();
    for (build, schemas, other, others) in [("new", new, "old", &of_old), ("old", old, "new", &of_new)] {
        for one in schemas.iter().filter(|one| !others.contains(&(one.subject.clone(), one.schema.clone()))) {
            says.push(format!("{build} {}, {other} does not", registers(one)));
        }
    }
    if says.is_empty() && !old.is_empty() {
        let schemas = if old.len() == 1 { "schema".to_owned() } else { format!("{} schemas", old.len()) };
        says.push(format!("old and new register the same {schemas}"));
    }
    says
}

fn registers(one: &RegisteredSchema) -> String {
    let RegisteredSchema { subject, kind, version, compatibility, breaks, .. } = one;
    let to_there = match compatibility.as_deref() {
        None => "the first of its subject".to_owned(),
        Some("none") => "neither backward nor forward compatible with what is there".to_owned(),
        Some("full") => "backward and forward compatible with what is there".to_owned(),
        Some(level) => format!("only {level} compatible with what is there"),
    };
    let because = if breaks.is_empty() { String::new() } else { format!(" ({})", breaks.join("; ")) };
    match version {
        Some(version) => format!("registers version {version} of {subject} ({kind}), {to_there}{because}"),
        None => format!("is refused a schema of {subject} ({kind}), {to_there}{because}"),
    }
}

/// Warns of schemas that were refused, and of what was asked for and is not there.
pub(super) fn warnings<'a>(endings: impl Iterator<Item = (&'a str, &'a EndingReport)>) -> Vec<String> {
    let mut warnings = Vec::new();
    for (drive, registry) in endings.filter_map(|(drive, ending)| Some((drive, ending.registry.as_ref()?))) {
        for refused in registry.registered.iter().filter(|one| one.version.is_none()) {
            warnings.push(format!("{drive} {}", registers(refused)));
        }
        if registry.untold > 0 {
            let (told, untold) = (registry.registered.len(), registry.untold);
            let what = format!("registered {untold} schemas beyond the first {told}, which alone are told one by one");
            warnings.push(format!("{drive} {what}: whether old and new register the same cannot be told"));
        }
        if !registry.errors.is_empty() {
            let by_status = registry.errors.iter().map(|(status, times)| format!("{status} ({times})"));
            let by_status = by_status.collect::<Vec<_>>().join(", ");
            warnings.push(format!("the schema registry of {drive} answered requests with errors: {by_status}"));
        }
        if !registry.missed.is_empty() {
            let named = registry.missed.iter().take(NAMED_MAX).map(|(path, times)| format!("{path} ({times})"));
            let more = if registry.missed.len() > NAMED_MAX { " and others" } else { "" };
            let named = named.collect::<Vec<_>>().join(", ");
            warnings.push(format!("{drive} asked its schema registry for what is not there: {named}{more}"));
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Ending, RegistryCount};

    fn schema(hash: &str, version: Option<i32>, compatibility: Option<&str>, breaks: &[&str]) -> RegisteredSchema {
        RegisteredSchema {
            subject: "orders-value".to_owned(),
            kind: "Avro".to_owned(),
            schema: hash.to_owned(),
            version,
            id: version,
            compatibility: compatibility.map(str::to_owned),
            breaks: breaks.iter().map(|&text| text.to_owned()).collect(),
        }
    }

    fn ending(registered: Vec<RegisteredSchema>) -> EndingReport {
        let registry = Some(RegistryCount { requests: 1, registered, ..RegistryCount::default() });
        EndingReport { registry, ..EndingReport::new(Ending::Finished, "") }
    }

    #[test]
    fn what_one_build_registers_and_the_other_does_not_is_said_with_what_it_breaks() {
        let (old, new) =
            (ending(vec![]), ending(vec![schema("a", Some(4), Some("forward"), &["X at $ (backward): y"])]));
        let found = facts([("old", &old), ("new", &new)].into_iter()).unwrap();
        assert_eq!(
            found.says,
            ["new registers version 4 of orders-value (Avro), only forward compatible with what is there \
              (X at $ (backward): y), old does not"]
        );
        let same = facts([("old", &new), ("new", &new)].into_iter()).unwrap();
        assert_eq!(same.says, ["old and new register the same schema"]);
        assert_eq!(facts([("old", &EndingReport::new(Ending::Finished, ""))].into_iter()), None);
    }

    #[test]
    fn what_is_refused_and_what_is_not_there_is_warned_of() {
        let mut new = ending(vec![schema("a", None, Some("none"), &[])]);
        new.registry.as_mut().unwrap().missed.insert("/schemas/ids/9".to_owned(), 2);
        let said = warnings([("new", &new)].into_iter());
        assert_eq!(said.len(), 2);
        assert!(
            said[0].contains("is refused a schema of orders-value (Avro), neither backward nor forward"),
            "{said:?}"
        );
        assert_eq!(said[1], "new asked its schema registry for what is not there: /schemas/ids/9 (2)");
    }

    #[test]
    fn what_is_not_told_one_by_one_is_held_against_nothing_and_errors_are_counted() {
        let (old, mut new) = (ending(vec![]), ending(vec![schema("a", Some(1), None, &[])]));
        let registry = new.registry.as_mut().unwrap();
        (registry.untold, registry.errors) = (7, [(413, 1), (422, 3)].into());
        assert_eq!(facts([("old", &old), ("new", &new)].into_iter()).unwrap().says, Vec::<String>::new());
        assert_eq!(
            warnings([("old", &old), ("new", &new)].into_iter()),
            [
                "new registered 7 schemas beyond the first 1, which alone are told one by one: whether old and new register the same \
                 cannot be told",
                "the schema registry of new answered requests with errors: 413 (1), 422 (3)",
            ]
        );
    }
}
