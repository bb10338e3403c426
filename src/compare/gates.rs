//! Limits on figures: `[gates]` and `[warnings]` as written, and as checked.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Map, Value};

use super::business::Figures;
use super::figure::{DEFAULTS, Figure, Unit};
use crate::settings::{SettingError, Span};

/// What the names of limits on figures of the business begin with.
const OF_FIGURES: &str = "figure.";

/// A table of limits as written: `[gates]` or `[warnings]`, by figure.
///
/// Which type a limit has depends on its figure, so values are kept as they stand until [`Gates::check`] reads them.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(transparent)]
pub struct GateSettings(BTreeMap<String, Written>);

/// A limit as it stands in the scenario.
#[derive(Debug, Clone, PartialEq)]
enum Written {
    Integer(i64),
    Float(f64),
    Text(String),
    /// Limits on figures of the business: `figure.orders-paid = 0` is such a table in TOML.
    Figures(BTreeMap<String, Self>),
}

/// Checked gates, warnings and the defaults that stand where the scenario wrote nothing of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Gates {
    /// Gates of the verdict, gravest figure first.
    pub gates: Vec<Gate>,
    /// Gates that only warn, gravest figure first.
    pub warnings: Vec<Gate>,
    /// Limits on figures of the business, of gates and of warnings, in order of name.
    pub figures: Vec<FigureGate>,
}

/// A limit on a figure of the scenario's `[[figure]]`: how far new may be away from old.
#[derive(Debug, Clone, PartialEq)]
pub struct FigureGate {
    /// Name as written, such as `figure.orders-paid`.
    pub name: String,
    /// Name of the figure.
    pub figure: String,
    /// The limit, a maximum.
    pub limit: FigureLimit,
    /// The limit as written.
    pub text: String,
    /// Whether it only warns.
    pub warning: bool,
}

/// A limit on how far a figure of new may be away from old's.
#[derive(Debug, Clone, PartialEq)]
pub enum FigureLimit {
    /// So much in the figure's own unit, a decimal number: `"0.05"` for five hundredths.
    Amount(String),
    /// A share of old's.
    Share(f64),
}

/// A limit on one figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// What is measured.
    pub figure: Figure,
    /// The limit: a maximum, but for figures whose name ends in `-min`.
    pub limit: Limit,
    /// The limit as written.
    pub text: String,
    /// Whether nobody wrote it.
    pub default: bool,
}

/// A limit in the unit of its figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// A number of things.
    Count(u64),
    /// A share, 1 being all; an increase of 20 % is 0.2.
    Share(f64),
    /// A span of time.
    Time(Span),
}

impl Gates {
    /// Checks both tables and adds the default gates.
    ///
    /// # Errors
    ///
    /// Names the key, as `gates.p99-latency-increase`, of an unknown figure or of a limit of the wrong type or unit.
    pub fn check(gates: &GateSettings, warnings: &GateSettings) -> Result<Self, SettingError> {
        let mut checked = read_table("gates", gates)?;
        for figure in DEFAULTS {
            if !checked.iter().any(|gate| gate.figure == figure) {
                checked.push(Gate { figure, limit: Limit::Count(0), text: "0".to_owned(), default: true });
            }
        }
        checked.sort_by_key(|gate| gate.figure.gravity());
        let mut figures = read_figures("gates", gates)?;
        figures.extend(read_figures("warnings", warnings)?);
        Ok(Self { gates: checked, warnings: read_table("warnings", warnings)?, figures })
    }

    /// Checks that what is limited of the business is among `figures`.
    ///
    /// # Errors
    ///
    /// Names the key, as `gates.figure.orders-paid`, and the nearest figure that there is.
    pub fn check_figures(&self, figures: &Figures) -> Result<(), SettingError> {
        let Some(gate) = self.figures.iter().find(|gate| figures.names().all(|name| name != gate.figure)) else {
            return Ok(());
        };
        let key = format!("{}.{}", if gate.warning { "warnings" } else { "gates" }, gate.name);
        let distance = |known: &&str| strsim::damerau_levenshtein(known, &gate.figure);
        let instead = match figures.names().min_by_key(distance) {
            Some(known) => format!("Did you mean `{known}`?"),
            None => "Write a `[[figure]]` of that name.".to_owned(),
        };
        Err(SettingError::new(key, format!("there is no `[[figure]]` called `{}`", gate.figure), instead))
    }

    /// Whether the verdict rests on the figure of the business `name`.
    pub(super) fn limits_figure(&self, name: &str) -> bool {
        self.figures.iter().any(|gate| !gate.warning && gate.figure == name)
    }

    /// Returns the name of the gravest figure, of gates and of warnings, that outputs alone do not tell: one that is measured while builds
    /// are driven.
    pub fn beyond_outputs(&self) -> Option<String> {
        let all = self.gates.iter().chain(&self.warnings);
        all.map(|gate| gate.figure).find(|figure| !figure.is_told_by_outputs()).map(|figure| figure.name().into_owned())
    }

    /// Returns the gate on `figure`, written or default; warnings are none.
    pub fn on(&self, figure: Figure) -> Option<&Gate> {
        self.gates.iter().find(|gate| gate.figure == figure)
    }
}

impl Default for Gates {
    fn default() -> Self {
        let gates = Figure::all().filter(|figure| DEFAULTS.contains(figure));
        let gates = gates.map(|figure| Gate { figure, limit: Limit::Count(0), text: "0".to_owned(), default: true });
        Self { gates: gates.collect(), warnings: Vec::new(), figures: Vec::new() }
    }
}

fn read_table(table: &str, settings: &GateSettings) -> Result<Vec<Gate>, SettingError> {
    let mut gates = Vec::new();
    for (name, written) in settings.0.iter().filter(|(name, written)| !is_of_figures(name, written)) {
        let key = format!("{table}.{name}");
        let Some(figure) = Figure::named(name) else { return Err(unknown_figure(key, name)) };
        let limit = read_limit(figure, written)
            .map_err(|problem| SettingError::new(key, problem, format!("Write {}.", figure.unit().example())))?;
        gates.push(Gate { figure, limit, text: written.to_string(), default: false });
    }
    gates.sort_by_key(|gate| gate.figure.gravity());
    Ok(gates)
}

/// Whether a key limits figures of the business: `"figure.orders-paid"`, or the table `figure`.
fn is_of_figures(name: &str, written: &Written) -> bool {
    name.starts_with(OF_FIGURES) || matches!((name, written), ("figure", Written::Figures(_)))
}

fn read_figures(table: &str, settings: &GateSettings) -> Result<Vec<FigureGate>, SettingError> {
    let mut gates = Vec::new();
    for (name, written) in settings.0.iter().filter(|(name, written)| is_of_figures(name, written)) {
        match written {
            Written::Figures(figures) if name == "figure" => {
                for (figure, written) in figures {
                    gates.push(figure_gate(table, figure, written)?);
                }
            }
            written => gates.push(figure_gate(table, name.strip_prefix(OF_FIGURES).unwrap_or(name), written)?),
        }
    }
    gates.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(gates)
}

fn figure_gate(table: &str, figure: &str, written: &Written) -> Result<FigureGate, SettingError> {
    let name = format!("{OF_FIGURES}{figure}");
    let wrong = |problem: String| {
        let instead =
            "Write how far new may be away: a number such as `0` or `0.05`, or a share of old's such as `\"1%\"`.";
        SettingError::new(format!("{table}.{name}"), problem, instead)
    };
    let limit = match written {
        Written::Integer(number) if *number >= 0 => FigureLimit::Amount(number.to_string()),
        Written::Float(number) if *number >= 0.0 && number.is_finite() => FigureLimit::Amount(number.to_string()),
        Written::Integer(_) | Written::Float(_) => {
            return Err(wrong(format!("{} is below zero or no number", written.quoted())));
        }
        Written::Text(text) => {
            let percent = text.trim().strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
            let percent = percent.filter(|percent| *percent >= 0.0 && percent.is_finite());
            FigureLimit::Share(percent.ok_or_else(|| wrong(format!("`{text}` is no percentage")))? / 100.0)
        }
        Written::Figures(_) => return Err(wrong("it has limits of its own below it".to_owned())),
    };
    Ok(FigureGate { name, figure: figure.to_owned(), limit, text: written.to_string(), warning: table == "warnings" })
}

fn unknown_figure(key: String, name: &str) -> SettingError {
    let distance = |known: &str| strsim::damerau_levenshtein(known, name);
    let nearest = Figure::all().map(Figure::name).min_by_key(|known| distance(known));
    let near = nearest.filter(|known| distance(known) * 2 <= name.len());
    let instead = match near {
        Some(known) => format!("Did you mean `{known}`?"),
        None => "Write one of the figures that `rehearsal schema` lists, such as `missing` or `p99-latency-increase`."
            .to_owned(),
    };
    SettingError::new(key, format!("no figure is named `{name}`"), instead)
}

fn read_limit(figure: Figure, written: &Written) -> Result<Limit, String> {
    match (figure.unit(), written) {
        (Unit::Count, Written::Integer(count)) => {
            u64::try_from(*count).map(Limit::Count).map_err(|_| format!("{count} is below zero"))
        }
        (Unit::Count, other) => Err(format!("{} is no whole number", other.quoted())),
        (Unit::Time, Written::Text(text)) => text.parse().map(Limit::Time),
        (Unit::Time, other) => Err(format!("{other} has no unit")),
        (Unit::Share, Written::Float(share)) => share_within(figure, *share, written),
        // One is the share that might be meant as a percentage; any other whole number surely is.
        (Unit::Share, Written::Integer(0)) => Ok(Limit::Share(0.0)),
        (Unit::Share, Written::Integer(number)) => Err(format!("{number} does not say whether it is a percentage")),
        (Unit::Share, Written::Figures(_)) => Err("a table is no percentage".to_owned()),
        (Unit::Share, Written::Text(text)) => {
            let percent = text.trim().strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
            share_within(figure, percent.ok_or_else(|| format!("`{text}` is no percentage"))? / 100.0, written)
        }
    }
}

fn share_within(figure: Figure, share: f64, written: &Written) -> Result<Limit, String> {
    if !share.is_finite() || share < 0.0 {
        return Err(format!("{} is below zero or no number", written.quoted()));
    }
    if figure == Figure::MatchedShareMin && share > 1.0 {
        return Err(format!("{} is more than all", written.quoted()));
    }
    Ok(Limit::Share(share))
}

impl Written {
    fn quoted(&self) -> String {
        match self {
            Self::Text(text) => format!("`{text}`"),
            number => number.to_string(),
        }
    }
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
            Self::Figures(figures) => write!(f, "a table of {}", figures.len()),
        }
    }
}

impl Serialize for Written {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Integer(number) => serializer.serialize_i64(*number),
            Self::Float(number) => serializer.serialize_f64(*number),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Figures(figures) => figures.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for GateSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BTreeMap::deserialize(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WrittenVisitor)
    }
}

struct WrittenVisitor;

impl<'de> de::Visitor<'de> for WrittenVisitor {
    type Value = Written;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a limit: a number, a percentage such as \"20%\" or a duration such as \"5s\"")
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Written, E> {
        Ok(Written::Integer(number))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Written, E> {
        i64::try_from(number).map(Written::Integer).map_err(|_| E::custom(format!("{number} is too large for a limit")))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Written, E> {
        Ok(Written::Float(number))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Written, E> {
        Ok(Written::Text(text.to_owned()))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Written, A::Error> {
        BTreeMap::deserialize(de::value::MapAccessDeserializer::new(map)).map(Written::Figures)
    }
}

impl JsonSchema for GateSettings {
    fn schema_name() -> Cow<'static, str> {
        "Gates".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let property = |figure: Figure| {
            let mut schema = figure.unit().schema();
            schema["description"] = figure.description().into();
            (figure.name().into_owned(), schema)
        };
        let of_figures = serde_json::json!({
            "type": ["number", "string"],
            "minimum": 0,
            "pattern": r"^\s*\d+(\.\d+)?\s*%\s*$",
            "description": "How far a figure of the business may be away from old's: a number in its unit, or a share of old's"
        });
        json_schema!({
            "type": "object",
            "description": "Limits by figure: maxima, but for figures that end in -min",
            "properties": Figure::all().map(property).collect::<Map<String, Value>>(),
            "patternProperties": {
                r"^figure\.": of_figures,
                "^figure$": {"type": "object", "additionalProperties": of_figures}
            },
            "additionalProperties": false
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Kind;

    fn settings(text: &str) -> GateSettings {
        toml::from_str(text).unwrap()
    }

    fn check(text: &str) -> Result<Gates, SettingError> {
        Gates::check(&settings(text), &GateSettings::default())
    }

    fn limit(text: &str, name: &str) -> Limit {
        let gates = check(text).unwrap();
        gates.gates.iter().find(|gate| gate.figure.name() == name).unwrap().limit
    }

    #[test]
    fn limits_are_read_in_the_unit_of_their_figure() {
        for (text, name, expected) in [
            ("missing = 3", "missing", Limit::Count(3)),
            ("lag-events = 50_000", "lag-events", Limit::Count(50_000)),
            ("p99-latency-increase = \"20%\"", "p99-latency-increase", Limit::Share(0.2)),
            ("p50-latency-increase = \" 7.5 % \"", "p50-latency-increase", Limit::Share(0.075)),
            ("p90-latency-increase = 0.5", "p90-latency-increase", Limit::Share(0.5)),
            ("p999-latency-increase = 0", "p999-latency-increase", Limit::Share(0.0)),
            ("matched-share-min = \"99.9%\"", "matched-share-min", Limit::Share(0.999)),
            ("p999-latency = \"1.5s\"", "p999-latency", Limit::Time("1.5s".parse().unwrap())),
            ("freshness-p99 = \"5s\"", "freshness-p99", Limit::Time("5s".parse().unwrap())),
        ] {
            let same = match (limit(text, name), expected) {
                (Limit::Share(read), Limit::Share(expected)) => (read - expected).abs() < 1e-12,
                (read, expected) => read == expected,
            };
            assert!(same, "{text}: {:?}", limit(text, name));
        }
    }

    #[test]
    fn a_limit_of_the_wrong_type_or_unit_names_its_key_and_what_to_write() {
        for (text, key, problem, instead) in [
            ("missing = \"20%\"", "gates.missing", "`20%` is no whole number", "`10`"),
            ("missing = 0.5", "gates.missing", "0.5 is no whole number", "`10`"),
            ("missing = -1", "gates.missing", "-1 is below zero", "`10`"),
            ("p99-latency-increase = \"5s\"", "gates.p99-latency-increase", "`5s` is no percentage", "\"20%\""),
            ("p99-latency-increase = 20", "gates.p99-latency-increase", "20 does not say", "\"20%\""),
            ("p99-latency-increase = \"-5%\"", "gates.p99-latency-increase", "`-5%` is below zero", "\"20%\""),
            ("p99-latency-increase = nan", "gates.p99-latency-increase", "no number", "\"20%\""),
            ("p99-latency = 5", "gates.p99-latency", "5 has no unit", "\"5s\""),
            ("p99-latency = \"20%\"", "gates.p99-latency", "`20%` is no duration", "\"5s\""),
            ("matched-share-min = \"101%\"", "gates.matched-share-min", "more than all", "\"20%\""),
        ] {
            let error = check(text).unwrap_err();
            assert_eq!(error.key, key);
            assert!(error.problem.contains(problem), "{text}: {}", error.problem);
            assert!(error.instead.contains(instead), "{text}: {}", error.instead);
        }
    }

    #[test]
    fn an_unknown_figure_suggests_the_nearest() {
        for (name, nearest) in
            [("mising", "missing"), ("p99-latency-incraese", "p99-latency-increase"), ("p95latency", "p95-latency")]
        {
            let error = check(&format!("{name} = 0")).unwrap_err();
            assert_eq!(error.key, format!("gates.{name}"));
            assert_eq!(error.instead, format!("Did you mean `{nearest}`?"));
        }
        assert!(check("cpu = 0").unwrap_err().instead.contains("`rehearsal schema`"));
        let error = Gates::check(&GateSettings::default(), &settings("benign-reorder = 0")).unwrap_err();
        assert_eq!(error.key, "warnings.benign-reorder");
    }

    #[test]
    fn what_is_neither_number_nor_text_is_refused_when_read() {
        let message = toml::from_str::<GateSettings>("missing = true").unwrap_err().to_string();
        assert!(message.contains("a limit: a number, a percentage"), "{message}");
    }

    #[test]
    fn a_written_gate_replaces_the_default_and_leaves_the_others() {
        let gates = check("missing = 5\nunseen = 1").unwrap();
        let missing: Vec<_> = gates.gates.iter().filter(|gate| gate.figure == Figure::Kind(Kind::Missing)).collect();
        assert_eq!(missing.len(), 1);
        assert!(!missing[0].default);
        assert_eq!(gates.gates.iter().filter(|gate| gate.default).count(), DEFAULTS.len() - 1);
        assert_eq!(gates.gates.len(), DEFAULTS.len() + 1);
        assert_eq!(check("").unwrap(), Gates::default());
    }

    #[test]
    fn a_warning_replaces_no_gate() {
        let gates = Gates::check(&GateSettings::default(), &settings("missing = 5")).unwrap();
        assert_eq!(gates.gates, Gates::default().gates);
        assert_eq!(gates.warnings.len(), 1);
    }

    #[test]
    fn every_figure_is_found_by_its_name_and_described_in_the_schema() {
        let schema = schemars::schema_for!(GateSettings);
        let properties = schema.as_value()["properties"].as_object().unwrap();
        assert_eq!(properties.len(), Figure::all().count());
        for figure in Figure::all() {
            assert_eq!(Figure::named(&figure.name()), Some(figure));
            assert!(properties[figure.name().as_ref()]["description"].is_string());
        }
    }
}
