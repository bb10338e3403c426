//! `sizes` of a `batch`: how many events a poll returns at most.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::super::Seed;

/// Sizes that are drawn of a range before they come in turn again.
const DRAWN: u64 = 64;

/// How many events a fetch gets of a partition, at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sizes {
    /// These in turn; zero stands for as many as there are.
    Turns(Vec<u32>),
    /// Drawn by the seed.
    Range {
        /// Smallest, from 1 on.
        least: u32,
        /// Largest.
        most: u32,
    },
}

impl Sizes {
    /// Draws what is to be drawn: the same for the same seed and name of the fault.
    pub(super) fn draw(&self, seed: Seed, name: &str) -> Vec<u32> {
        match self {
            Self::Turns(sizes) => sizes.clone(),
            Self::Range { least, most } => {
                let draw = seed.draws(&format!("{name}/sizes"));
                let width = u64::from(most - least) + 1;
                let one = |number| ((u128::from(draw(number)) * u128::from(width)) >> 64) as u32;
                (0..DRAWN).map(|number| least + one(number)).collect()
            }
        }
    }
}

struct Written;

impl<'de> de::Visitor<'de> for Written {
    type Value = Sizes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("numbers of events in turn, such as [1, 500], or a range in text, such as \"1..500\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Sizes, E> {
        let wrong = || E::custom(format!("`{text}` is no range of sizes; write `\"1..500\"`, say"));
        let (least, most) = text.split_once("..").ok_or_else(wrong)?;
        let number = |text: &str| text.trim().parse::<u32>().map_err(|_| wrong());
        match (number(least)?, number(most)?) {
            (least, most) if least > 0 && least <= most => Ok(Sizes::Range { least, most }),
            _ => Err(wrong()),
        }
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Sizes, A::Error> {
        let mut sizes = Vec::new();
        while let Some(size) = list.next_element::<u32>()? {
            sizes.push(size);
        }
        Ok(Sizes::Turns(sizes))
    }
}

impl<'de> Deserialize<'de> for Sizes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written)
    }
}

impl Serialize for Sizes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Turns(sizes) => sizes.serialize(serializer),
            Self::Range { least, most } => serializer.collect_str(&format_args!("{least}..{most}")),
        }
    }
}

impl JsonSchema for Sizes {
    fn schema_name() -> Cow<'static, str> {
        "Sizes".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["array", "string"],
            "items": { "type": "integer", "minimum": 0 },
            "description": "Numbers of events in turn, 0 for as many as there are ([1, 0]), or a range to draw from (\"1..500\")"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Sizes, String> {
        #[derive(Debug, Deserialize)]
        struct Table {
            sizes: Sizes,
        }
        toml::from_str::<Table>(&format!("sizes = {text}")).map(|table| table.sizes).map_err(|error| error.to_string())
    }

    #[test]
    fn sizes_are_a_list_or_a_range() {
        assert_eq!(read("[1, 0]"), Ok(Sizes::Turns(vec![1, 0])));
        assert_eq!(read("'1..500'"), Ok(Sizes::Range { least: 1, most: 500 }));
        for text in ["'0..5'", "'5..1'", "'many'", "[-1]", "7"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_range_is_drawn_by_seed_and_name() {
        let range = Sizes::Range { least: 3, most: 9 };
        let drawn = range.draw(Seed(7), "small");
        assert!(drawn.len() == 64 && drawn.iter().all(|size| (3..=9).contains(size)), "{drawn:?}");
        assert!((3..=9).all(|size| drawn.contains(&size)), "{drawn:?}");
        assert_eq!(range.draw(Seed(7), "small"), drawn);
        assert_ne!(range.draw(Seed(8), "small"), drawn);
        assert_ne!(range.draw(Seed(7), "other"), drawn);
    }
}
