//! `isolation`, `hosts`, `allow`, `shared` and `writable` of `[drive]`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::settings::DriveSettings;
use crate::outcome::Layer;
use crate::settings::SettingError;

/// Most hosts and addresses that a world leads to, each of which has a listener of its own.
const PLACES_MAX: usize = 1_000;

/// Environment variable with names of layers that are to be left out, apart by commas: to find out what a build needs, and for tests.
const WITHOUT: &str = "REHEARSAL_WITHOUT_LAYERS";

/// Whether each drive has a world of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum IsolationMode {
    /// As far as the system grants it; the report says how far.
    #[default]
    On,
    /// As far as `on`, and no drive takes place where a layer that refuses something is missing.
    Required,
    /// Not at all.
    Off,
}

/// A host with a port, as builds know it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// A name or an address.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl Place {
    /// Reads `HOST:PORT`; an address of IP's version 6 stands in brackets.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port > 0)?;
        let host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(six) => return Some(Self { host: six.parse::<std::net::Ipv6Addr>().ok()?.to_string(), port }),
            None => host.to_ascii_lowercase(),
        };
        let sign = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let is_name = !host.is_empty() && host.len() <= 253 && host.chars().all(sign);
        is_name.then_some(Self { host, port })
    }

    /// The host as an address, where it is one.
    pub(super) fn address(&self) -> Option<IpAddr> {
        if self.host == "localhost" { Some(std::net::Ipv4Addr::LOCALHOST.into()) } else { self.host.parse().ok() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Checked settings of isolation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IsolationRules {
    /// Whether there is any.
    pub mode: IsolationMode,
    /// What stands where builds know a host of production: `stage`, `registry`, `ofrep` or `effects.NAME`.
    pub hosts: BTreeMap<Place, String>,
    /// What builds are let through to.
    pub allow: BTreeSet<Place>,
    /// Whether that, and what `writable` names, is known to be shared by all drives.
    pub shared: bool,
    /// Where builds may write beside their drive's folder; absolute.
    pub writable: Vec<PathBuf>,
    /// Layers that are left out.
    pub without: BTreeSet<Layer>,
    /// Why builds are reached from outside of their world, where they are.
    pub outside: Option<String>,
}

impl IsolationRules {
    /// Checks what `settings` say of it; paths are relative to `folder`.
    ///
    /// # Errors
    ///
    /// The first setting that cannot be used, by its key.
    pub(in crate::drive) fn check(settings: &DriveSettings, folder: &Path) -> Result<Self, SettingError> {
        let mut hosts = BTreeMap::new();
        for (text, target) in &settings.hosts {
            let place = place("drive.hosts", text)?;
            let known = target == "stage"
                || target == "registry"
                || target == "ofrep"
                || target.strip_prefix("effects.").is_some_and(|name| !name.is_empty());
            if !known {
                let problem = format!("`{target}` stands for nothing that Rehearsal serves");
                let instead = "Write `\"stage\"`, `\"registry\"`, `\"ofrep\"` or `\"effects.NAME\"`.";
                return Err(SettingError::new("drive.hosts", problem, instead));
            }
            if target == "stage"
                && (settings.broker.as_deref().is_some_and(|broker| broker != "stage")
                    || settings.transport != super::super::Transport::Kafka)
            {
                let problem = format!("there is no stage that `{text}` could be");
                let instead = "Write `transport = \"kafka\"` and leave `broker` out, or take the host out.";
                return Err(SettingError::new("drive.hosts", problem, instead));
            }
            if hosts.insert(place, target.clone()).is_some() {
                return Err(SettingError::new("drive.hosts", format!("`{text}` is named twice"), "Name it once."));
            }
        }
        let mut allow = BTreeSet::new();
        for text in &settings.allow {
            let place = place("drive.allow", text)?;
            if hosts.contains_key(&place) {
                let problem = format!("`{text}` is one of `hosts`, too");
                return Err(SettingError::new("drive.allow", problem, "Take it out of `allow` or of `hosts`."));
            }
            allow.insert(place);
        }
        if let Some((one, other)) = twice(hosts.keys().chain(&allow)) {
            let key = if allow.contains(one) || allow.contains(other) { "drive.allow" } else { "drive.hosts" };
            return Err(SettingError::new(key, format!("`{one}` and `{other}` are one address"), "Name it once."));
        }
        if hosts.len() + allow.len() > PLACES_MAX {
            let problem = format!("{} hosts and addresses are too many", hosts.len() + allow.len());
            return Err(SettingError::new("drive.allow", problem, format!("Name {PLACES_MAX} at most.")));
        }
        let off = settings.isolation == IsolationMode::Off;
        if off && !hosts.is_empty() {
            // Or else builds would go on to production itself.
            let problem = "without isolation, production's names lead to production";
            let instead = "Take `hosts` out, or `isolation = \"off\"`.";
            return Err(SettingError::new("drive.hosts", problem, instead));
        }
        if settings.shared && allow.is_empty() && settings.writable.is_empty() {
            let problem = "nothing is allowed that could be shared";
            return Err(SettingError::new(
                "drive.shared",
                problem,
                "Take it out, or name what is shared in `allow` or `writable`.",
            ));
        }
        let outside = match (&settings.listen, &settings.advertise) {
            (Some(_), _) => Some("`listen` serves builds that run elsewhere, in containers, say".to_owned()),
            (None, Some(_)) => Some("`advertise` serves builds that run elsewhere, in containers, say".to_owned()),
            _ => None,
        };
        let writable = settings.writable.iter().map(|path| std::path::absolute(folder.join(path)));
        let writable = writable.collect::<Result<_, _>>().map_err(|error| {
            SettingError::new(
                "drive.writable",
                format!("a path cannot be used: {error}"),
                "Write the path of a folder.",
            )
        })?;
        Ok(Self {
            mode: settings.isolation,
            hosts,
            allow,
            shared: settings.shared,
            writable,
            without: without(),
            outside,
        })
    }
}

/// Two that stand for the same address, where there are any: only one can be listened at.
fn twice<'p>(places: impl Iterator<Item = &'p Place>) -> Option<(&'p Place, &'p Place)> {
    let mut known = BTreeMap::new();
    for place in places {
        let other = place.address().and_then(|address| known.insert((address, place.port), place));
        if let Some(other) = other {
            return Some((other, place));
        }
    }
    None
}

fn place(key: &str, text: &str) -> Result<Place, SettingError> {
    Place::parse(text).ok_or_else(|| {
        let problem = format!("`{text}` is no host with a port");
        SettingError::new(key, problem, "Write `\"HOST:PORT\"`, such as `\"db.test:5432\"`.")
    })
}

fn without() -> BTreeSet<Layer> {
    let named = std::env::var(WITHOUT).unwrap_or_default();
    Layer::ALL.into_iter().filter(|layer| named.split(',').any(|name| name.trim() == layer.name())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<IsolationRules, SettingError> {
        let settings: DriveSettings = toml::from_str(text).unwrap();
        IsolationRules::check(&settings, Path::new("/scenarios"))
    }

    #[test]
    fn hosts_and_addresses_are_read() {
        for (text, host, port) in
            [("Kafka.Prod:9092", "kafka.prod", 9092), ("10.0.0.7:1", "10.0.0.7", 1), ("[::1]:80", "::1", 80)]
        {
            assert_eq!(Place::parse(text), Some(Place { host: host.into(), port }), "{text}");
        }
        for text in ["kafka.prod", "kafka.prod:0", ":80", "a b:80", "[::1]", "::1:80", "http://a:80", "a:65536"] {
            assert_eq!(Place::parse(text), None, "{text}");
        }
        assert_eq!(Place::parse("[::1]:80").unwrap().to_string(), "[::1]:80");
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_key() {
        let kafka = "transport = 'kafka'\noutputs = ['a']\n";
        for (text, key, problem) in [
            ("hosts = { 'kafka.prod' = 'stage' }", "drive.hosts", "no host with a port"),
            ("hosts = { 'kafka.prod:9092' = 'elsewhere' }", "drive.hosts", "stands for nothing"),
            ("hosts = { 'kafka.prod:9092' = 'effects.' }", "drive.hosts", "stands for nothing"),
            ("hosts = { 'kafka.prod:9092' = 'stage' }\nisolation = 'off'", "drive.hosts", "lead to production"),
            ("hosts = { 'a:1' = 'stage', 'A:1' = 'stage' }", "drive.hosts", "named twice"),
            ("hosts = { 'a:1' = 'stage' }\nbroker = 'b:1'", "drive.hosts", "no stage"),
            ("allow = ['a:1']\nhosts = { 'a:1' = 'stage' }", "drive.allow", "one of `hosts`"),
            ("allow = ['a']", "drive.allow", "no host with a port"),
            ("allow = ['localhost:1', '127.0.0.1:1']", "drive.allow", "one address"),
            ("allow = ['127.0.0.1:1']\nhosts = { 'localhost:1' = 'stage' }", "drive.allow", "one address"),
            ("hosts = { 'localhost:1' = 'stage', '127.0.0.1:1' = 'stage' }", "drive.hosts", "one address"),
            ("shared = true", "drive.shared", "nothing is allowed"),
        ] {
            let error = check(&format!("{kafka}{text}")).unwrap_err();
            assert!(error.key == key && error.problem.contains(problem), "{text}: {error:?}");
        }
        let error = check("hosts = { 'a:1' = 'stage' }").unwrap_err();
        assert!(error.problem.contains("no stage"), "over lines there is none: {error:?}");
    }

    #[test]
    fn paths_are_those_of_the_scenario() {
        let rules = check("writable = ['cache', '/srv']").unwrap();
        assert_eq!(rules.writable, [Path::new("/scenarios/cache"), Path::new("/srv")]);
        assert_eq!((rules.mode, rules.outside), (IsolationMode::On, None));
    }
}
