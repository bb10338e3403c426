//! Captures killed at random instants: a short form of `benches/kills.rs`.

#[path = "kills/harness.rs"]
mod harness;
mod lost;

use std::path::Path;
use std::process::Command;

use harness::running::Running;
use harness::steps::{Act, Step, Told};
use harness::{Figures, Near, Sort};
use tempfile::TempDir;

fn child() -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "kills::the_capture_that_is_killed", "--nocapture"]);
    command
}

#[test]
fn kills_lose_nothing_that_was_acknowledged_and_repeat_nothing() {
    let mut figures = harness::kill(40, 20_130_105, &child, &|_| {});
    // Where chance or a busy machine brought none of a kind, some more may.
    let missing = |figures: &Figures| {
        let shown = [
            ("near a flush", figures.near(Near::Flush)),
            ("near a start", figures.near(Near::Start)),
            ("near a rotation", figures.near(Near::Rotation)),
            ("near a gathering", figures.near(Near::Gathering)),
            ("near a seal", figures.near(Near::Seal)),
            ("blind", figures.blind),
            ("between two steps", figures.stood),
            ("an input", figures.of(Sort::Input)),
            ("a table", figures.of(Sort::Table)),
            ("to a store", figures.of(Sort::Store)),
            ("at a request", figures.at_requests),
            ("gone on with without its manifest", figures.without_manifest),
            ("rebuilt", figures.rebuilt),
            ("bytes lost", figures.bytes_lost),
            ("names lost", figures.names_lost),
        ];
        shown.into_iter().find_map(|(kind, count)| (count == 0).then_some(kind))
    };
    for seed in 1..10 {
        if missing(&figures).is_some() {
            figures.add(harness::kill(20, seed, &child, &|_| {}));
        }
    }
    assert!(figures.hold() && figures.kills >= 40, "{figures:?}");
    assert_eq!(missing(&figures), None, "{figures:?}");
    assert!(figures.recordings > 0 && figures.events > 0, "{figures:?}");
}

#[test]
fn what_a_killed_capture_had_not_synced_is_synced_before_it_counts() {
    let figures = harness::follow(harness::UNSYNCED_GROUP, &child);
    assert!(figures.hold() && figures.stood == 2 && figures.recordings == 1, "{figures:?}");
}

#[test]
fn folders_that_a_killed_capture_had_not_synced_are_synced_before_anything_in_them_counts() {
    let figures = harness::follow(harness::UNSYNCED_FOLDERS, &child);
    assert!(figures.hold() && figures.stood == 2 && figures.recordings == 1, "{figures:?}");
}

#[test]
fn a_gathering_that_was_cut_off_at_any_step_leaves_one_of_both_whole() {
    for script in harness::GATHERINGS {
        let figures = harness::follow(script, &child);
        assert!(figures.hold() && figures.stood == 1 && figures.recordings == 1, "{script:?}: {figures:?}");
    }
}

#[test]
fn what_is_made_of_a_recording_has_its_name_for_good_before_it_is_said_to_be_there() {
    let kept = TempDir::new().unwrap();
    let folder = kept.path().canonicalize().unwrap();
    let mut running = Running::start(&child(), None, ["", folder.to_str().unwrap(), "sliced", "input"], None);
    let mut steps = Vec::new();
    while let Some(record) = running.hear(None) {
        if let Told::Begun(step) = record.told {
            steps.push(step);
        }
    }
    assert!(running.end().success());
    let named = steps.iter().rposition(|step| step.act == Act::Rename).unwrap();
    let (draft, out) = (Path::new(&steps[named].path), Path::new(std::str::from_utf8(&steps[named].bytes).unwrap()));
    assert!(out.join("manifest.json").exists() && !draft.exists());
    let is_sync_of = |step: &Step, path: &Path| step.act == Act::Sync && Path::new(&step.path) == path;
    let synced = |path: &Path| steps[..named].iter().rposition(|step| is_sync_of(step, path)).unwrap();
    let written = |path: &Path| steps.iter().rposition(|step| step.act == Act::Write && Path::new(&step.path) == path);
    // All that it holds, the folders that hold it, and at last its name.
    let segment = draft.join("segments/000000.parquet");
    assert!(written(&segment).unwrap() < synced(&segment));
    assert!(synced(&draft.join("segments")) < named && synced(draft) < named);
    assert!(steps[named..].iter().any(|step| is_sync_of(step, out.parent().unwrap())), "{:?}", &steps[named..]);
}

/// The child of the tests above, which names in the environment what to capture; without that there is nothing to do.
#[test]
fn the_capture_that_is_killed() {
    assert_eq!(harness::child(), std::env::var_os("REHEARSAL_KILLED").is_some());
}
