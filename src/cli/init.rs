//! `rehearsal init`: a first scenario for a recording.

use std::io;
use std::path::{Component, Path, PathBuf};

use super::args::InitArguments;
use super::exit::{Code, Failure};
use super::printer::Printer;
use super::whole::write_text;
use crate::recording::{Location, Recording};
use crate::scenario::draft;

pub(super) fn init(arguments: &InitArguments, printer: &Printer) -> Result<Code, Failure> {
    let recording = Recording::open(&arguments.recording)?;
    let name = arguments.recording.name().unwrap_or_else(|| "scenario".into());
    let out = arguments.out.clone().unwrap_or_else(|| PathBuf::from(format!("{name}.toml")));
    if out.as_os_str() == "-" {
        printer.result(&draft(&recording, &arguments.recording, Path::new(""))?)?;
        return Ok(Code::Agree);
    }
    let folder = out.parent().unwrap_or(Path::new(""));
    let seen = match &arguments.recording {
        Location::Directory(path) => Location::Directory(seen_from(folder, path)?),
        store @ Location::Store(_) => store.clone(),
    };
    let text = draft(&recording, &seen, folder)?;
    write_text(&out, &text)?;
    printer.result(&format!("Wrote {0}. Put your two builds into it, then: rehearsal run {0}", out.display()))?;
    Ok(Code::Agree)
}

/// Returns `path` as it is written in a file of `folder`.
fn seen_from(folder: &Path, path: &Path) -> io::Result<PathBuf> {
    if path.is_absolute() {
        return Ok(path.to_owned());
    }
    let here = std::env::current_dir()?;
    let (from, to) = (plain(&here.join(folder)), plain(&here.join(path)));
    let shared = from.components().zip(to.components()).take_while(|(one, other)| one == other).count();
    let up = from.components().skip(shared).map(|_| Component::ParentDir);
    Ok(up.chain(to.components().skip(shared)).collect())
}

/// Takes `.` and `..` out of a path.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_named_as_seen_from_the_scenario() {
        for (folder, path, seen) in [
            ("", "recordings/flights", "recordings/flights"),
            ("scenarios", "recordings/flights", "../recordings/flights"),
            ("./a/b", "./a/c", "../c"),
            ("", "/tmp/flights", "/tmp/flights"),
        ] {
            assert_eq!(seen_from(Path::new(folder), Path::new(path)).unwrap(), Path::new(seen), "{folder} {path}");
        }
    }
}
