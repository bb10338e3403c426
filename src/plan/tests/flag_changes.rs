//! Changes of flags: when they take place, and what a fault log has of them.

use super::*;

const SLOW: &str = "[pace]\nmode = 'recorded'\n";

fn change(text: &str) -> String {
    format!("[[flag-change]]\nflag = 'fast'\n{text}\n")
}

/// Ten events, a second apart, the first at 1 s since 1970.
fn ten() -> Synthetic {
    let events = (0..10).map(|offset| made(offset, 1_000 + offset * 1_000));
    Synthetic::of([("a", 0, events.collect())])
}

fn dues(text: &str) -> Vec<Option<i64>> {
    planned(&ten(), text).flag_changes().unwrap().iter().map(|change| change.due_us).collect()
}

#[test]
fn a_flag_changes_with_the_first_event_at_or_after_its_moment() {
    let at = |at: &str| dues(&change(&format!("to = false\nat = {at}")))[0];
    assert_eq!(at("'0s'"), Some(0));
    assert_eq!(at("'3s'"), Some(3_000_000));
    assert_eq!(at("'3100ms'"), Some(4_000_000));
    assert_eq!(at("'1970-01-01T00:00:03Z'"), Some(2_000_000));
    assert_eq!(at("1970-01-01T00:00:03Z"), Some(2_000_000));
    // Behind the last event, and ahead of the slice, is never.
    assert_eq!((at("'10s'"), at("'1969-12-31T00:00:00Z'")), (None, None));
    let fast = format!("[pace]\nmode = 'accelerated'\nspeed = 10.0\n{}", change("to = false\nat = '3s'"));
    assert_eq!(dues(&fast), [Some(300_000)]);
}

#[test]
fn a_change_moves_no_delivery_and_no_fault_moves_it() {
    let (kill, delay) =
        (change("to = false\nat = '3s'"), "[[fault]]\nkind = 'delay'\ndelay = '700ms'\nprobability = 1\n");
    let (alone, both) = (delivered(&ten(), delay), planned(&ten(), &format!("{delay}{kill}")));
    assert_eq!(deliveries(&both), alone);
    assert_eq!(both.flag_changes().unwrap()[0].due_us, Some(3_000_000));
    assert_eq!(both.once().flag_changes().unwrap(), both.flag_changes().unwrap());
    let summary = both.summary().unwrap().faults;
    let said = summary[1].at_requests.as_ref().unwrap();
    assert_eq!(
        (summary.len(), &*summary[1].name, &*summary[1].kind, summary[1].planned),
        (2, "flag-change-1", "flag-change", 1)
    );
    assert_eq!(
        (&*said.begins, said.by_time, said.redelivers),
        ("`fast` becomes false at 3s of the replay", true, false)
    );
    let never = planned(&ten(), &change("to = false\nat = '1h'\nbuild = 'new'")).summary().unwrap();
    assert!(never.faults[0].touches_nothing());
    assert_eq!(never.faults[0].at_requests.as_ref().unwrap().only, Some(Role::New));
}

#[test]
fn what_cannot_be_held_is_refused_by_its_key() {
    let unpaced = format!("[pace]\nmode = 'unpaced'\n{}", change("to = 1\nat = '3s'"));
    let fault = "[[fault]]\nkind = 'delay'\nname = 'kill'\n";
    for (text, key, problem) in [
        (unpaced, "flag-change[0].at", "`unpaced` waits for no moment"),
        (change("to = 1\nat = '3s'\nname = ''"), "flag-change[0].name", "needs a name"),
        (change("to = 1\nat = '3s'\nname = 'k'").repeat(2), "flag-change[1].name", "named `k`"),
        (format!("{fault}{}", change("to = 1\nat = '3s'\nname = 'kill'")), "flag-change[0].name", "named `kill`"),
        (change("to = 1\nat = '3s'").replace("'fast'", "'a b'"), "flag-change[0].flag", "`a b`"),
    ] {
        let error = setting_error(&ten(), &text);
        assert!(error.key == key && error.problem.contains(problem), "{text}: {error}");
        let without = settings(&text).check().unwrap_err();
        assert_eq!(without, error, "without a recording it is refused as well");
    }
}

#[test]
fn a_fault_log_has_the_moment_and_decides_it() {
    let text = format!("{SLOW}{}{}", change("to = false\nat = '3s'\nname = 'kill'"), change("to = true\nat = '1h'"));
    let mut log = Vec::new();
    fault_log(&planned(&ten(), &text), &mut log).unwrap();
    let line = "{\"fault\":\"kill\",\"kind\":\"flag-change\",\"moment_us\":3000000}\n";
    assert_eq!(String::from_utf8(log).unwrap(), line);
    let replayed = |log: &str| {
        let log = FaultLog::read(log.as_bytes()).unwrap();
        let settings = PlanSettings { replay_log: Some(log), ..settings(&text) };
        plan_over(Arc::new(ten()), &settings, Seed(7), spill())
    };
    let dues = |log: &str| -> Vec<Option<i64>> {
        replayed(log).unwrap().flag_changes().unwrap().iter().map(|change| change.due_us).collect()
    };
    assert_eq!(dues(line), [Some(3_000_000), None]);
    assert_eq!(dues(&line.replace("3000000", "17")), [Some(17), None]);
    assert_eq!(dues(""), [None, None], "what the log does not have does not take place");
    for (log, problem) in [
        (line.replace("kill", "kil"), "which the scenario has not (it has flag-change `kill`"),
        (format!("{line}{}", line.replace("3000000", "4")), "not one moment of the flag change `kill`"),
        (line.replace("moment_us", "request"), "not one moment of the flag change `kill`"),
    ] {
        let error = replayed(&log).unwrap_err();
        let error = std::error::Error::source(&error).unwrap().to_string();
        assert!(error.contains(problem), "{log}: {error}");
    }
}
