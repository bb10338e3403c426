//! flagd's definition file, after its schema <https://flagd.dev/schema/v0/flags.json>: each flag enabled, without targeting, its value
//! the default variant.

use serde_json::{Map, Value, json};

use crate::settings::Flag;

/// Longest text that names its own variant, in bytes.
const VARIANT_BYTES_MAX: usize = 60;

/// Names the values that a flag takes, each once, `first` first: `on` and `off`, numbers and short texts by themselves, others `v1` and
/// so on. A boolean always has both.
pub(super) fn variants<'f>(first: &Flag, later: impl Iterator<Item = &'f Flag>) -> Vec<(String, Flag)> {
    let mut all: Vec<(String, Flag)> = Vec::new();
    let other = first.value().as_bool().map(|value| Flag::from(!value));
    for flag in std::iter::once(first.clone()).chain(later.cloned()).chain(other) {
        if !all.iter().any(|(_, known)| known.value() == flag.value()) {
            all.push((name(&flag, all.len() + 1), flag));
        }
    }
    all
}

fn name(flag: &Flag, number: usize) -> String {
    match flag.shown() {
        Value::Bool(true) => "on".to_owned(),
        Value::Bool(false) => "off".to_owned(),
        Value::Number(number) => number.to_string(),
        // What is shown in another's place names no two of them apart.
        Value::String(text)
            if !text.is_empty() && text.len() <= VARIANT_BYTES_MAX && flag.value().as_str() == Some(&*text) =>
        {
            text
        }
        _ => format!("v{number}"),
    }
}

/// Writes the file: of each flag its name, its variants, and which of them it is.
pub(super) fn definition<'f>(flags: impl Iterator<Item = (&'f str, &'f [(String, Flag)], usize)>) -> String {
    let flag = |(name, variants, at): (&str, &[(String, Flag)], usize)| {
        let all: Map<String, Value> =
            variants.iter().map(|(variant, flag)| (variant.clone(), flag.value().clone())).collect();
        let flag = json!({ "state": "ENABLED", "variants": all, "defaultVariant": variants[at].0 });
        (name.to_owned(), flag)
    };
    let flags: Map<String, Value> = flags.map(flag).collect();
    let all = json!({ "$schema": "https://flagd.dev/schema/v0/flags.json", "flags": flags });
    format!("{all:#}\n")
}
