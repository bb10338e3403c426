//! Which topics are captured, by name or by pattern, each with its role and its partitions.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use regex::Regex;

use super::CaptureError;
use crate::recording::Role;

/// Names that Kafka gives to topics of its own begin so.
const INTERNAL: &str = "__";

/// Topics of one role: a name, or a pattern of names.
#[derive(Debug, Clone)]
pub struct TopicChoice {
    /// What is chosen.
    pub names: TopicNames,
    /// What the topics are for.
    pub role: Role,
    /// Partitions to capture; none means those of [`super::CaptureSettings::partitions`], else all.
    pub partitions: Option<BTreeSet<i32>>,
}

/// The name of one topic, or a pattern of names.
#[derive(Debug, Clone)]
pub enum TopicNames {
    /// One topic.
    Name(String),
    /// All topics whose names a regular expression matches. It begins with `^`, as in librdkafka's subscriptions, and is matched
    /// as Kafka's clients do: `^flights-` takes every name that begins so. Topics of Kafka's own (`__consumer_offsets`) are taken
    /// only where the expression begins with `^__`.
    Pattern(Regex),
}

impl TopicChoice {
    /// Chooses all partitions of the topic `name`.
    pub fn named(name: impl Into<String>, role: Role) -> Self {
        Self { names: TopicNames::Name(name.into()), role, partitions: None }
    }

    /// Reads a list of choices, all of `role`: `orders`, `orders,payments`, `orders:0,1` (partitions 0 and 1 of `orders`),
    /// `^flights-.*`. A regular expression reaches to the end of the text, as commas belong to it.
    ///
    /// # Errors
    ///
    /// A lowercase fragment that says what cannot be read.
    pub fn parse(text: &str, role: Role) -> Result<Vec<Self>, String> {
        let mut choices: Vec<Self> = Vec::new();
        let mut rest = text;
        loop {
            if rest.starts_with('^') {
                let pattern = Regex::new(rest).map_err(|error| {
                    // The last line says what is wrong, those ahead of it draw the expression.
                    let reason = error.to_string().lines().last().unwrap_or_default().replace("error: ", "");
                    format!("`{rest}` is no regular expression: {reason}")
                })?;
                choices.push(Self { names: TopicNames::Pattern(pattern), role, partitions: None });
                return Ok(choices);
            }
            let (item, more) = rest.split_once(',').map_or((rest, None), |(item, more)| (item, Some(more)));
            let item = item.trim();
            // `orders:0,1`: the list of partitions goes on until something else comes.
            let partitions = choices.last_mut().and_then(|choice| choice.partitions.as_mut());
            match (partitions, item.parse::<i32>(), item.split_once(':')) {
                (Some(partitions), Ok(partition), _) => drop(partitions.insert(partition)),
                (_, _, Some((name, partition))) if !name.is_empty() => {
                    let partition = read_partition(partition)?;
                    let names = TopicNames::Name(name.to_owned());
                    choices.push(Self { names, role, partitions: Some(BTreeSet::from([partition])) });
                }
                _ if item.is_empty() || item.starts_with(':') => {
                    return Err(format!("`{text}` names no topic between its commas"));
                }
                _ => choices.push(Self::named(item, role)),
            }
            match more {
                Some(more) => rest = more.trim_start(),
                None => return Ok(choices),
            }
        }
    }
}

impl fmt::Display for TopicNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Pattern(pattern) => f.write_str(pattern.as_str()),
        }
    }
}

impl PartialEq for TopicChoice {
    fn eq(&self, other: &Self) -> bool {
        (self.names.to_string(), self.role, &self.partitions)
            == (other.names.to_string(), other.role, &other.partitions)
    }
}

impl Eq for TopicChoice {}

/// Reads the number of a partition.
pub(super) fn read_partition(text: &str) -> Result<i32, String> {
    match text.trim().parse() {
        Ok(partition) if partition >= 0 => Ok(partition),
        _ => Err(format!("`{text}` is no partition; write a number, as in `orders:0,1`")),
    }
}

/// One topic that was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) role: Role,
    /// None means all.
    pub(super) partitions: Option<BTreeSet<i32>>,
    /// Whether a pattern chose it.
    pub(super) patterned: bool,
}

/// Picks the topics to capture. `there` lists those of the cluster; it is asked only where there is a pattern.
pub(super) fn choose(
    choices: &[TopicChoice],
    there: impl FnOnce() -> Result<Vec<String>, CaptureError>,
) -> Result<BTreeMap<String, Chosen>, CaptureError> {
    let mut chosen = BTreeMap::new();
    let patterned = choices.iter().any(|choice| matches!(choice.names, TopicNames::Pattern(_)));
    let there = if patterned { there()? } else { Vec::new() };
    // Names first: who names a topic means it, and a pattern takes what is left.
    let is_pattern = |choice: &&TopicChoice| matches!(choice.names, TopicNames::Pattern(_));
    for choice in choices.iter().filter(|choice| !is_pattern(choice)).chain(choices.iter().filter(is_pattern)) {
        match &choice.names {
            TopicNames::Name(name) => add(&mut chosen, name, choice)?,
            TopicNames::Pattern(pattern) => {
                let internal = pattern.as_str().starts_with("^__");
                let takes = |name: &&String| pattern.is_match(name) && (internal || !name.starts_with(INTERNAL));
                let matched: Vec<&String> = there.iter().filter(takes).collect();
                if matched.is_empty() {
                    return Err(CaptureError::NothingMatches { pattern: pattern.to_string() });
                }
                for name in matched {
                    add(&mut chosen, name, choice)?;
                }
            }
        }
    }
    Ok(chosen)
}

fn add(chosen: &mut BTreeMap<String, Chosen>, name: &str, choice: &TopicChoice) -> Result<(), CaptureError> {
    let Some(known) = chosen.get_mut(name) else {
        let patterned = matches!(choice.names, TopicNames::Pattern(_));
        let (role, partitions) = (choice.role, choice.partitions.clone());
        chosen.insert(name.to_owned(), Chosen { role, partitions, patterned });
        return Ok(());
    };
    if known.role != choice.role {
        if !known.patterned && matches!(choice.names, TopicNames::Pattern(_)) {
            return Ok(());
        }
        return Err(CaptureError::TwoRoles { topic: name.to_owned(), one: known.role, other: choice.role });
    }
    // Chosen as a whole and in part: as a whole.
    known.partitions = match (known.partitions.take(), &choice.partitions) {
        (Some(some), Some(more)) => Some(some.union(more).copied().collect()),
        _ => None,
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<(String, Option<Vec<i32>>)> {
        let choices = TopicChoice::parse(text, Role::Input).unwrap();
        choices
            .into_iter()
            .map(|choice| (choice.names.to_string(), choice.partitions.map(|some| some.into_iter().collect())))
            .collect()
    }

    fn named(text: &str, partitions: Option<&[i32]>) -> (String, Option<Vec<i32>>) {
        (text.to_owned(), partitions.map(<[i32]>::to_vec))
    }

    fn chosen(choices: &[(&str, Role)]) -> Result<BTreeMap<String, Chosen>, CaptureError> {
        let choices: Vec<TopicChoice> =
            choices.iter().flat_map(|(text, role)| TopicChoice::parse(text, *role).unwrap()).collect();
        let there = ["__consumer_offsets", "flights-eu", "flights-us", "payments"];
        choose(&choices, || Ok(there.map(str::to_owned).to_vec()))
    }

    #[test]
    fn names_lists_partitions_and_patterns_are_read() {
        assert_eq!(parsed("orders"), [named("orders", None)]);
        assert_eq!(parsed("orders, payments"), [named("orders", None), named("payments", None)]);
        assert_eq!(parsed("orders:0,2,payments"), [named("orders", Some(&[0, 2])), named("payments", None)]);
        assert_eq!(parsed("1,2"), [named("1", None), named("2", None)]);
        assert_eq!(parsed("orders,^flights-.{1,2}$"), [named("orders", None), named("^flights-.{1,2}$", None)]);
        for (text, says) in [
            ("", "names no topic"),
            ("a,,b", "names no topic"),
            (":1", "names no topic"),
            ("a:-1", "no partition"),
            ("a:x", "no partition"),
            ("^(", "no regular expression: unclosed group"),
        ] {
            let problem = TopicChoice::parse(text, Role::Input).unwrap_err();
            assert!(problem.contains(says), "{text}: {problem}");
        }
    }

    #[test]
    fn a_pattern_takes_what_it_matches_and_none_of_kafkas_own() {
        let names = |text| chosen(&[(text, Role::Input)]).unwrap().into_keys().collect::<Vec<_>>();
        assert_eq!(names("^flights-"), ["flights-eu", "flights-us"]);
        assert_eq!(names("^flights-us$"), ["flights-us"]);
        assert_eq!(names("^.*s"), ["flights-eu", "flights-us", "payments"]);
        assert_eq!(names("^__.*"), ["__consumer_offsets"]);
        assert!(matches!(chosen(&[("^orders", Role::Input)]), Err(CaptureError::NothingMatches { .. })));
    }

    #[test]
    fn a_topic_has_one_role_and_the_partitions_of_all_its_choices() {
        for choices in [
            [("flights-us", Role::Input), ("flights-us", Role::Table)],
            [("^flights-", Role::Input), ("^.*-us", Role::Table)],
        ] {
            let error = chosen(&choices).unwrap_err().to_string();
            assert_eq!(error, "topic `flights-us` is named as an input and as a table");
        }
        // Whatever comes first, a name counts ahead of a pattern.
        for choices in [
            [("^flights-", Role::Input), ("flights-us", Role::Table)],
            [("flights-us", Role::Table), ("^flights-", Role::Input)],
        ] {
            let roles = chosen(&choices).unwrap().into_values().map(|chosen| chosen.role).collect::<Vec<_>>();
            assert_eq!(roles, [Role::Input, Role::Table]);
        }
        let partitions = |choices: &[(&str, Role)]| chosen(choices).unwrap()["payments"].partitions.clone();
        assert_eq!(partitions(&[("payments:0", Role::Input), ("payments:2,0", Role::Input)]), Some([0, 2].into()));
        assert_eq!(partitions(&[("payments:0", Role::Input), ("^pay", Role::Input)]), None);
    }
}
