//! A month of real flights, compiled in, so that the demo needs no file.

use std::fs;
use std::io;
use std::path::Path;

/// Files of the recording `recordings/flights`, by their paths in it.
const FILES: [(&str, &[u8]); 2] = [
    ("manifest.json", include_bytes!("../../recordings/flights/manifest.json")),
    ("segments/000000.parquet", include_bytes!("../../recordings/flights/segments/000000.parquet")),
];

/// The scenario `scenarios/compensation.toml`, which rehearses those flights.
pub const COMPENSATION: &str = include_str!("../../scenarios/compensation.toml");

/// Writes the recording of the flights to the new folder `folder`.
///
/// # Errors
///
/// What the file system says; a folder that exists is refused.
pub fn unpack_flights(folder: &Path) -> io::Result<()> {
    fs::create_dir(folder)?;
    fs::create_dir(folder.join("segments"))?;
    FILES.iter().try_for_each(|(name, bytes)| fs::write(folder.join(name), bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::Recording;

    #[test]
    fn the_flights_that_are_compiled_in_are_a_whole_recording() {
        let folder = tempfile::tempdir().unwrap();
        let flights = folder.path().join("flights");
        unpack_flights(&flights).unwrap();
        let recording = Recording::open(&flights).unwrap();
        assert!(recording.verify().unwrap().is_empty());
        assert_eq!(recording.manifest().segments.len() + 1, FILES.len());
    }
}
