//! What the kills' disk may lose, and what it never loses.

use std::collections::BTreeMap;
use std::fs;

use tempfile::TempDir;

use super::harness::chance::Chance;
use super::harness::disk::{BLOCK, Disk, Taken, read};
use super::harness::steps::{Act, Step, Told};

/// A folder after `steps` (act, name, number, text), and then a loss of power of many seeds: what is left each time.
fn left(steps: &[(Act, &str, u64, &str)]) -> Vec<(Taken, BTreeMap<String, String>)> {
    let lose = |seed| {
        let kept = TempDir::new().unwrap();
        let folder = kept.path().canonicalize().unwrap();
        let full = |name: &str| folder.join(name).to_str().unwrap().trim_end_matches('/').to_owned();
        let mut disk = Disk::empty(&folder);
        for (act, name, number, text) in steps {
            let bytes = if *act == Act::Rename { full(text).into_bytes() } else { text.as_bytes().to_vec() };
            let result = bytes.len() as i64;
            disk.follow(&Told::Begun(Step { act: *act, path: full(name), number: *number, bytes }));
            disk.follow(&Told::Done(result));
        }
        let taken = disk.lose_power(&mut Chance(seed));
        disk.settle().unwrap();
        let name = |path: &str| path.strip_prefix(&full("")).unwrap().trim_start_matches('/').to_owned();
        let text =
            |bytes: Option<Vec<u8>>| bytes.map_or("/".to_owned(), |bytes| String::from_utf8_lossy(&bytes).into());
        let found = read(&folder).into_iter().skip(1).map(|(path, bytes)| (name(&path), text(bytes)));
        (taken, found.collect())
    };
    (0..200).map(lose).collect()
}

const SURE: [(Act, &str, u64, &str); 4] =
    [(Act::Create, "a", 0, ""), (Act::Write, "a", 0, "sure"), (Act::Sync, "a", 0, ""), (Act::Sync, "", 0, "")];

#[test]
fn what_was_synced_with_its_name_is_never_taken_away() {
    for (taken, found) in left(&SURE) {
        assert_eq!((taken, &*found["a"], found.len()), (Taken::default(), "sure", 1));
    }
}

#[test]
fn a_synced_file_may_be_gone_with_its_name_and_so_may_all_below_a_folder() {
    let found = left(&SURE[..3]);
    assert!(found.iter().any(|(taken, found)| found.is_empty() && taken.names == 1));
    assert!(found.iter().any(|(taken, found)| found.len() == 1 && *taken == Taken::default()));
    let below = [(Act::MakeFolder, "f", 0, ""), (Act::Create, "f/a", 0, ""), (Act::Sync, "f", 0, "")];
    let found = left(&below);
    assert!(found.iter().any(|(_, found)| found.is_empty()));
    assert!(found.iter().any(|(_, found)| found.len() == 2));
    assert!(found.iter().all(|(_, found)| found.contains_key("f") || !found.contains_key("f/a")));
}

#[test]
fn of_bytes_that_were_not_synced_any_part_may_be_gone_and_what_was_synced_stays_ahead_of_them() {
    let more = "x".repeat(3 * BLOCK);
    let mut steps = SURE.to_vec();
    steps.push((Act::Write, "a", 4, &more));
    let found = left(&steps);
    assert!(found.iter().all(|(_, found)| found["a"].starts_with("sure")));
    let any = |is: &dyn Fn(&str) -> bool| found.iter().any(|(_, found)| is(&found["a"]));
    let whole = 4 + more.len();
    assert!(any(&|text| text == "sure") && any(&|text| text == format!("sure{more}")));
    assert!(any(&|text| text.len() > 4 && text.len() < whole && text.trim_end_matches('x') == "sure"));
    // A block in the middle, as zeros and as anything.
    assert!(any(&|text| text.contains('\0') && text.ends_with('x')));
    assert!(any(&|text| !text.contains('\0') && text.len() >= whole && text != format!("sure{more}")));
}

#[test]
fn a_rename_may_be_undone_and_may_keep_a_file_whose_bytes_are_gone() {
    let mut steps = SURE.to_vec();
    steps.extend([(Act::Create, "new", 0, ""), (Act::Write, "new", 0, "newer"), (Act::Rename, "new", 0, "a")]);
    let found = left(&steps);
    let any = |text: &str| found.iter().any(|(_, found)| found["a"] == text);
    assert!(any("sure") && any("newer") && any(""));
    steps.insert(6, (Act::Sync, "new", 0, ""));
    assert!(left(&steps).iter().all(|(_, found)| found["a"] == "sure" || found["a"] == "newer"));
    steps.push((Act::Sync, "", 0, ""));
    assert!(left(&steps).iter().all(|(taken, found)| found["a"] == "newer" && *taken == Taken::default()));
}

#[test]
fn a_file_that_was_cut_may_be_as_long_as_before() {
    let mut steps = SURE.to_vec();
    steps.push((Act::Truncate, "a", 2, ""));
    let found = left(&steps);
    assert!(found.iter().any(|(_, found)| found["a"] == "sure") && found.iter().any(|(_, found)| found["a"] == "su"));
    steps.push((Act::Sync, "a", 0, ""));
    assert!(left(&steps).iter().all(|(_, found)| found["a"] == "su"));
}

#[test]
fn a_file_that_is_not_what_was_told_is_found() {
    let kept = TempDir::new().unwrap();
    let folder = kept.path().canonicalize().unwrap();
    let mut disk = Disk::empty(&folder);
    assert_eq!(disk.settle(), Ok(()));
    fs::write(folder.join("a"), "untold").unwrap();
    assert!(disk.settle().unwrap_err().contains("is not what was told of it"));
}
