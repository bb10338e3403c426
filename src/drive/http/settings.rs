//! What `[drive]` says of the transport `http`.

use crate::drive::{DriveSettings, Transport};
use crate::settings::SettingError;

/// Requests of one partition that may be in flight: more, and a build may see events in another order.
const IN_FLIGHT_MAX: u32 = 1_000;

/// Checked settings of the transport `http`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRules {
    /// Where events are posted to; placeholders as in commands.
    pub url: String,
    /// Requests of one partition in flight.
    pub in_flight: u32,
    /// What answers 200 once the build is ready; placeholders as in commands.
    pub ready_url: Option<String>,
}

impl HttpRules {
    /// Checks what stands under `drive`.
    pub(in crate::drive) fn check(settings: &DriveSettings) -> Result<Self, SettingError> {
        let Some(url) = &settings.url else {
            let instead = "Write `url = \"http://127.0.0.1:{port}/events\"`, say.";
            return Err(SettingError::new("drive.url", "nothing says where events are posted to", instead));
        };
        let ready_url = settings.ready.as_ref().and_then(|ready| ready.url.clone());
        for (key, url) in [("drive.url", Some(url)), ("drive.ready.url", ready_url.as_ref())] {
            if url.is_some_and(|url| !url.starts_with("http://") || url.contains([' ', '@'])) {
                let problem = "it is no address of HTTP without TLS and credentials";
                return Err(SettingError::new(key, problem, "Write `\"http://127.0.0.1:{port}/events\"`, say."));
            }
        }
        let in_flight = settings.in_flight.unwrap_or(1);
        if !(1..=IN_FLIGHT_MAX).contains(&in_flight) {
            let problem = format!("{in_flight} requests are out of range");
            return Err(SettingError::new(
                "drive.in-flight",
                problem,
                format!("Write a number from 1 to {IN_FLIGHT_MAX}."),
            ));
        }
        Ok(Self { url: url.clone(), in_flight, ready_url })
    }

    /// Refuses what only this transport knows.
    pub(in crate::drive) fn refuse_elsewhere(settings: &DriveSettings) -> Result<(), SettingError> {
        let ready = settings.ready.as_ref().is_some_and(|ready| ready.url.is_some());
        let own = [("url", settings.url.is_some()), ("in-flight", settings.in_flight.is_some()), ("ready.url", ready)];
        match own.into_iter().find(|(_, said)| *said && settings.transport != Transport::Http) {
            None => Ok(()),
            Some((key, _)) => {
                let instead = "Write `transport = \"http\"` under `[drive]`, or take it out.";
                Err(SettingError::new(
                    format!("drive.{key}"),
                    "only the transport `http` knows what to do with this",
                    instead,
                ))
            }
        }
    }
}
