//! JSON for tests: every kind of value, spaced and escaped at random.

use proptest::prelude::*;

/// Texts of JSON without names that stand twice.
pub(super) fn json() -> impl Strategy<Value = String> {
    let text = "[a-cé@. \\\\\"\n]{0,6}".prop_map(|text| serde_json::Value::from(text).to_string());
    let number = prop_oneof!["-?(0|[1-9][0-9]{0,9})", "-?(0|[1-9][0-9]{0,5})\\.[0-9]{1,4}", "[1-9]e[+-]?[1-9]"];
    let leaf = prop_oneof![Just("null".to_owned()), Just("true".to_owned()), Just("false".to_owned()), text, number];
    leaf.prop_recursive(4, 32, 4, |inner| {
        let gap = || "[ \n\t]{0,2}";
        let list = (gap(), prop::collection::vec((gap(), inner.clone(), gap()), 0..4)).prop_map(|(gap, parts)| {
            let parts: Vec<String> =
                parts.iter().map(|(before, part, behind)| format!("{before}{part}{behind}")).collect();
            format!("[{gap}{}]", parts.join(","))
        });
        let names = prop::sample::subsequence(vec!["a", "b", "c", "a b", "é"], 0..4).prop_shuffle();
        let members =
            (gap(), names, prop::collection::vec((gap(), inner, gap()), 4)).prop_map(|(gap, names, parts)| {
                let parts: Vec<String> = names
                    .iter()
                    .zip(&parts)
                    .map(|(name, (before, part, behind))| format!("{before}\"{name}\"{behind}:{before}{part}{behind}"))
                    .collect();
                format!("{{{gap}{}}}", parts.join(","))
            });
        prop_oneof![list, members]
    })
}
