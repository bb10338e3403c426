//! What a build's program is, as far as libfaketime is concerned: which it can be put in front of, and which not.
//!
//! The library is put ahead of the system's own by the loader of shared libraries. A program without a loader (linked statically), and one
//! that asks the kernel itself (Go does), never notices.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

/// Interpreters that an interpreter's script may name one after the other.
const DEPTH_MAX: usize = 4;

/// Bytes of a note or a name that are looked at.
const NOTES_BYTES_MAX: u64 = 64 << 10;

/// Headers of a program that are looked at.
const HEADERS_MAX: u16 = 128;

/// What a program is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// Machine code that loads shared libraries.
    Native,
    /// A shell, which may well look for its variables elsewhere than the library does: what it starts, with any luck.
    Shell,
    /// A program that does nothing but start another one, such as `timeout`: what that is, nobody looks up.
    Launcher,
    /// A Python interpreter, with the words by which it is started.
    Python(Vec<String>),
    /// A Java machine, as it is called.
    Jvm(String),
}

impl Kind {
    /// Finds out what is started by `command`, whose program is the file `program`, where that is known.
    ///
    /// # Errors
    ///
    /// Why its clock cannot be set, as a fragment.
    pub(super) fn of(command: &[String], program: Option<&Path>) -> Result<Self, String> {
        let Some(first) = command.first() else { return Ok(Self::Native) };
        if let Some(kind) = by_name(first, &command[1..]) {
            return Ok(kind);
        }
        program.map_or(Ok(Self::Native), |program| by_file(program, 0))
    }

    /// What the report calls it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Shell => "shell",
            Self::Launcher => "launcher",
            Self::Python(_) => "Python",
            Self::Jvm(_) => "JVM",
        }
    }
}

/// Programs that start the one that their words name.
const LAUNCHERS: [&str; 16] = [
    "env",
    "nice",
    "ionice",
    "nohup",
    "setsid",
    "stdbuf",
    "timeout",
    "time",
    "taskset",
    "chrt",
    "numactl",
    "unshare",
    "setpriv",
    "tini",
    "dumb-init",
    "catchsegv",
];

/// Tells by what a program is called; `rest` are the words behind it.
fn by_name(called: &str, rest: &[String]) -> Option<Kind> {
    let name = Path::new(called).file_name()?.to_string_lossy().into_owned();
    if name == "java" {
        return Some(Kind::Jvm(called.to_owned()));
    }
    if ["sh", "bash", "dash", "ksh", "zsh", "ash"].contains(&name.as_str()) {
        return Some(Kind::Shell);
    }
    if LAUNCHERS.contains(&name.as_str()) {
        return Some(Kind::Launcher);
    }
    let version = name.strip_prefix("python").or_else(|| name.strip_prefix("pypy"))?;
    if !version.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return None;
    }
    // What it is told of its own, up to what it runs.
    let own = rest.iter().take_while(|word| word.starts_with('-') && !["-c", "-m", "-", "--"].contains(&word.as_str()));
    // Options with a word of their own behind them would take what is asked here for it.
    let own = own.take_while(|word| !["-W", "-X"].contains(&word.as_str()));
    Some(Kind::Python([called.to_owned()].into_iter().chain(own.cloned()).collect()))
}

fn by_file(program: &Path, depth: usize) -> Result<Kind, String> {
    let Ok(mut file) = File::open(program) else { return Ok(Kind::Native) };
    let mut magic = [0; 4];
    if file.read_exact(&mut magic).is_err() {
        return Ok(Kind::Native);
    }
    if magic == *b"\x7fELF" {
        return elf(&mut file, program).map(|()| Kind::Native);
    }
    if !magic.starts_with(b"#!") || depth == DEPTH_MAX {
        return Ok(Kind::Native);
    }
    let Some(words) = interpreter(&mut file) else { return Ok(Kind::Native) };
    if let Some(kind) = by_name(&words[0], &words[1..]) {
        return Ok(kind);
    }
    by_file(&on_path(&words[0]), depth + 1)
}

/// The words of a script's first line, without `env` ahead of them.
fn interpreter(file: &mut File) -> Option<Vec<String>> {
    file.seek(SeekFrom::Start(2)).ok()?;
    let mut line = Vec::new();
    BufReader::new(file.take(4_096)).read_until(b'\n', &mut line).ok()?;
    let line = String::from_utf8_lossy(&line).into_owned();
    let words = line.split_whitespace().map(str::to_owned);
    let words: Vec<String> = words
        .skip_while(|word| Path::new(word).file_name().is_some_and(|name| name == "env") || word == "-S")
        .collect();
    (!words.is_empty()).then_some(words)
}

fn on_path(name: &str) -> PathBuf {
    if name.contains('/') {
        return name.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file()).unwrap_or_default()
}

/// Bytes of a program in which the names of what it links to are looked for: they stand ahead of its code.
const LINKED_BYTES_MAX: u64 = 4 << 20;

/// Whether a program links to C's own threads, which wait until a moment of the time of day and which libfaketime does not know: as
/// librdkafka does where it is built with them.
pub(super) fn waits_by_c(program: &Path) -> bool {
    const NAME: &[u8] = b"\0cnd_timedwait\0";
    let mut head = Vec::new();
    let read = File::open(program).and_then(|file| file.take(LINKED_BYTES_MAX).read_to_end(&mut head));
    read.is_ok() && head.starts_with(b"\x7fELF") && head.windows(NAME.len()).any(|name| name == NAME)
}

/// Looks into a program of the format ELF.
fn elf(file: &mut File, program: &Path) -> Result<(), String> {
    // What cannot be read will not be started either; that says more than this could.
    let Some(found) = segments(file) else { return Ok(()) };
    let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if found.go {
        return Err(format!("`{name}` is written in Go, which asks the kernel for the time and no library"));
    }
    match found.loader {
        None => Err(format!("`{name}` is linked statically: nothing can be put in front of its library")),
        Some(loader) if loader.contains("ld-musl") => {
            Err(format!("`{name}` is linked with musl, and libfaketime here with the GNU library"))
        }
        Some(_) => Ok(()),
    }
}

/// What a program's segments tell.
#[derive(Debug, Default, PartialEq, Eq)]
struct Segments {
    loader: Option<String>,
    go: bool,
}

/// Reads the segments of an ELF file of 64 bits of this machine's own byte order; none of any other. Fields by the System V ABI.
fn segments(file: &mut File) -> Option<Segments> {
    const CLASS_64: u8 = 2;
    const ORDER: u8 = if cfg!(target_endian = "big") { 2 } else { 1 };
    const LOADER: u32 = 3;
    const NOTE: u32 = 4;
    let mut header = [0; 64];
    read_at(file, 0, &mut header)?;
    if header[4] != CLASS_64 || header[5] != ORDER {
        return None;
    }
    let (offset, size, count) = (long(&header, 32)?, u64::from(short(&header, 54)?), short(&header, 56)?);
    let mut found = Segments::default();
    for index in 0..u64::from(count.min(HEADERS_MAX)) {
        let mut segment = [0; 56];
        read_at(file, offset.checked_add(index * size)?, &mut segment)?;
        let kind = u32::from_ne_bytes(segment[..4].try_into().ok()?);
        if kind != LOADER && kind != NOTE {
            continue;
        }
        let (from, length) = (long(&segment, 8)?, long(&segment, 32)?.min(NOTES_BYTES_MAX));
        let mut bytes = vec![0; usize::try_from(length).ok()?];
        read_at(file, from, &mut bytes)?;
        if kind == LOADER {
            found.loader = Some(String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned());
        } else {
            // Note of the build's identity, by Go's own linker.
            found.go |= bytes.windows(8).any(|note| note == *b"\x04\0\0\0Go\0\0");
        }
    }
    Some(found)
}

fn read_at(file: &mut File, offset: u64, bytes: &mut [u8]) -> Option<()> {
    file.seek(SeekFrom::Start(offset)).ok()?;
    file.read_exact(bytes).ok()
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    /// A program of 64 bits with these segments: their type and what is in them.
    fn program(segments: &[(u32, &[u8])]) -> Vec<u8> {
        let mut header = vec![0; 64];
        header[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, if cfg!(target_endian = "big") { 2 } else { 1 }]);
        header[32..40].copy_from_slice(&64_u64.to_ne_bytes());
        header[54..56].copy_from_slice(&56_u16.to_ne_bytes());
        header[56..58].copy_from_slice(&(segments.len() as u16).to_ne_bytes());
        let mut at = 64 + 56 * segments.len();
        let mut contents = Vec::new();
        for (kind, bytes) in segments {
            let mut segment = vec![0; 56];
            segment[..4].copy_from_slice(&kind.to_ne_bytes());
            segment[8..16].copy_from_slice(&(at as u64).to_ne_bytes());
            segment[32..40].copy_from_slice(&(bytes.len() as u64).to_ne_bytes());
            header.extend(segment);
            contents.extend_from_slice(bytes);
            at += bytes.len();
        }
        header.extend(contents);
        header
    }

    #[test]
    fn who_never_asks_a_library_is_refused_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("consumer");
        let glibc: (u32, &[u8]) = (3, b"/lib64/ld-linux-x86-64.so.2\0");
        let go: (u32, &[u8]) = (4, b"\x04\0\0\0\x53\0\0\0\x04\0\0\0Go\0\0abc");
        for (segments, said) in [
            (&[glibc, (4, b"\x04\0\0\0GNU\0")][..], None),
            (&[(1, b"code")], Some("linked statically")),
            (&[go], Some("written in Go")),
            (&[glibc, go], Some("written in Go")),
            (&[(3, b"/lib/ld-musl-x86_64.so.1\0")], Some("musl")),
        ] {
            fs::write(&path, program(segments)).unwrap();
            match (Kind::of(&words("./consumer"), Some(&path)), said) {
                (Ok(kind), None) => assert_eq!(kind, Kind::Native),
                (Err(problem), Some(said)) => {
                    assert!(problem.contains(said) && problem.contains("`consumer`"), "{problem}");
                }
                (found, _) => panic!("{segments:?}: {found:?}"),
            }
        }
    }

    #[test]
    fn who_waits_by_threads_of_c_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("consumer");
        for (names, waits) in [("\0poll\0cnd_timedwait\0read\0", true), ("\0poll\0my_cnd_timedwait\0", false)] {
            fs::write(&path, program(&[(1, names.as_bytes())])).unwrap();
            assert_eq!(waits_by_c(&path), waits);
            fs::write(&path, names).unwrap();
            assert!(!waits_by_c(&path), "no program");
        }
    }

    #[test]
    fn interpreters_are_known_by_their_names_and_by_the_first_lines_of_scripts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("consumer");
        let python = |text: &str| Kind::Python(words(text));
        for (command, first_line, kind) in [
            ("java -jar app.jar", "", Kind::Jvm("java".into())),
            ("/opt/jdk/bin/java -jar app.jar", "", Kind::Jvm("/opt/jdk/bin/java".into())),
            ("python3 -u app.py", "", python("python3 -u")),
            (".venv/bin/python3.11 -E -s -m app", "", python(".venv/bin/python3.11 -E -s")),
            ("python3 -W ignore app.py", "", python("python3")),
            ("./consumer", "#!/venv/bin/python\nprint()", python("/venv/bin/python")),
            ("./consumer", "#!/usr/bin/env -S python3 -u\n", python("python3 -u")),
            ("./consumer", "#!/bin/sh\njava -jar app.jar", Kind::Shell),
            ("bash consumer.sh", "", Kind::Shell),
            ("timeout 100 ./consumer", "", Kind::Launcher),
            ("/usr/bin/env X=1 ./consumer", "", Kind::Launcher),
            ("pythonista", "", Kind::Native),
            ("./consumer", "no script at all", Kind::Native),
        ] {
            fs::write(&path, first_line).unwrap();
            assert_eq!(Kind::of(&words(command), Some(&path)), Ok(kind), "{command}: {first_line}");
        }
    }

    #[test]
    fn what_this_program_is_is_seen() {
        let found = segments(&mut File::open(std::env::current_exe().unwrap()).unwrap()).unwrap();
        assert!(!found.go && found.loader.is_some_and(|loader| loader.contains("ld-")));
    }
}
