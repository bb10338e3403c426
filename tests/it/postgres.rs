//! Builds that fill a PostgreSQL: old and new each in a database of their own, which `prepare` makes and `cleanup` removes. Where
//! PostgreSQL is not installed these tests are left out, and say so; `REHEARSAL_POSTGRES=required` makes that a failure.

mod server;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use rehearsal::clock::Stop;
use rehearsal::compare::{Kind, Verdict};
use rehearsal::report::Report;
use rehearsal::scenario::{Destination, Scenario, check, run};
use serde_json::Value as Json;
use server::Postgres;

use crate::run::{Silent, desk};

/// Pays every order in the drive's database; `table` says how the table is made, `insert` how a row gets into it.
fn rehearse(server: &Postgres, desk: &Path, old: (&str, &str), new: (&str, &str), more: &str) -> Report {
    write_scenario(server, desk, &server.socket().to_string_lossy(), old, new, more);
    let scenario = Scenario::read(desk.join("pay.toml"), &[]).unwrap_or_else(|error| panic!("{error}"));
    let checked = check(scenario, None).unwrap_or_else(|error| panic!("{error}"));
    let destination = Destination::Numbered { under: desk.join("runs") };
    run(&checked, &destination, &Silent, &Stop::new()).unwrap_or_else(|error| panic!("{error}")).report
}

/// Writes the scenario of that; builds find the server at `host`, and `more` begins within `[drive]`.
fn write_scenario(server: &Postgres, desk: &Path, host: &str, old: (&str, &str), new: (&str, &str), more: &str) {
    let build = |role: &str, (table, insert): (&str, &str)| {
        let script = format!(
            "sed -E 's/\\{{\"amount\":([0-9]+),\"order_id\":([0-9]+)\\}}/{insert};/' | psql -q -v ON_ERROR_STOP=1 \"$1\"\n"
        );
        fs::write(desk.join(format!("{role}.sh")), script).unwrap();
        let path = format!("{}:{}", server.programs.display(), std::env::var("PATH").unwrap_or_default());
        format!(
            "[{role}]\ncommand = ['sh', '{role}.sh', 'pay-{{drive}}']\n\
             env = {{ PATH = '{path}', PGHOST = '{host}', PGPORT = '{}', PGUSER = 'postgres' }}\n\
             prepare = [['createdb', '-T', 'template0', 'pay-{{drive}}'], ['psql', '-q', '-c', 'create table payments ({table})', 'pay-{{drive}}']]\n\
             cleanup = [['dropdb', 'pay-{{drive}}']]\n",
            server.port
        )
    };
    let text = format!(
        "recording = 'orders'\n{}{}[drive]\nsettle = '50ms'\npayload = 'value'\n{more}\n[pace]\nmode = 'unpaced'\n\
         [[sink]]\nname = 'payments'\nsnapshot = ['psql', '--csv', '-c', 'select id, amount from payments', 'pay-{{drive}}']\n\
         format = 'csv'\nkey = '$.id'\n",
        build("old", old),
        build("new", new)
    );
    fs::write(desk.join("pay.toml"), text).unwrap();
}

const PAY: &str = "insert into payments values (\\2, \\1)";

#[test]
fn a_release_that_leaves_another_table_is_found_by_its_rows() {
    let Some(server) = Postgres::start() else { return };
    let desk = desk(1_000);
    let plain = ("id int, amount int", PAY);
    let report = rehearse(&server, desk.path(), plain, plain, "");
    assert_eq!((report.verdict, report.outputs["new"]), (Verdict::Agree, 1_000), "{:?}", report.reasons);
    assert_eq!(server.databases(), "", "each was removed behind its drive");
    let wrong = "insert into payments values (\\2, case when \\2 = 7 then 0 else \\1 end)";
    let report = rehearse(&server, desk.path(), plain, ("id int, amount int", wrong), "");
    assert_eq!(report.verdict, Verdict::Differ, "{:?}", report.reasons);
    assert_eq!(report.differences.get(&Kind::SinkDivergence), Some(&1), "{:?}", report.differences);
    assert_eq!(report.patterns[0].path.as_deref(), Some("$.amount"));
    assert_eq!(server.databases(), "");
}

#[test]
fn a_release_that_pays_redelivered_orders_twice_is_found_by_its_table() {
    let Some(server) = Postgres::start() else { return };
    let desk = desk(200);
    let safe = ("id int primary key, amount int", "insert into payments values (\\2, \\1) on conflict do nothing");
    let fault = "[[fault]]\nkind = 'duplicate'\nprobability = 0.2\n";
    let report = rehearse(&server, desk.path(), safe, ("id int, amount int", PAY), fault);
    let found = report.idempotency.as_ref().unwrap();
    assert_eq!(found.old.repeated_effects, 0);
    assert!(found.new.redelivered > 0);
    assert_eq!(found.new.repeated_effects, found.new.redelivered, "each was paid twice");
    assert_eq!(report.verdict, Verdict::Differ, "{:?}", report.reasons);
    assert_eq!(server.databases(), "");
}

/// Runs the scenario as it stands by the program, whose drives live in worlds of their own; returns the exit code and the report.
fn run_apart(desk: &Path, name: &str) -> (Option<i32>, Json) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rehearsal"));
    let ran = command.current_dir(desk).args(["run", "pay.toml", "--out", name, "--json"]).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    (ran.status.code(), serde_json::from_slice(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {said}")))
}

#[test]
fn in_worlds_of_their_own_builds_reach_the_server_that_they_are_let_through_to() {
    let Some(server) = Postgres::start() else { return };
    let desk = desk(100);
    let safe = ("id int primary key, amount int", "insert into payments values (\\2, \\1) on conflict do nothing");
    let address = format!("127.0.0.1:{}", server.port);
    let fault = "[[fault]]\nkind = 'duplicate'\nprobability = 0.2\n";
    let socket = server.socket();
    let socket = socket.to_str().unwrap();
    for (name, host, let_through, shared, code) in [
        ("port", "127.0.0.1", format!("allow = ['{address}']"), true, 0),
        ("unvouched", "127.0.0.1", format!("allow = ['{address}']"), false, 3),
        ("socket", socket, format!("writable = ['{socket}']"), true, 0),
        // Nobody listens in their own networks, and `/tmp` is another: old fails, which is no verdict.
        ("refused", "127.0.0.1", String::new(), false, 3),
        ("hidden", socket, String::new(), false, 3),
    ] {
        let more = format!("{let_through}\nshared = {shared}\n{fault}");
        write_scenario(&server, desk.path(), host, safe, safe, &more);
        let (ended, report) = run_apart(desk.path(), name);
        let isolation = &report["isolation"]["new"];
        if isolation["layers"][0]["enforced"] != true {
            let mut stderr = std::io::stderr();
            let _ =
                writeln!(stderr, "LEFT OUT: a database from a network of a drive's own: {}", isolation["layers"][0]);
            return;
        }
        assert_eq!(ended, Some(code), "{name}: {:#}", report["reasons"]);
        let reasons = report["reasons"].to_string();
        assert_eq!(
            reasons.contains("idempotency and sinks cannot be judged"),
            name == "unvouched",
            "{name}: {reasons}"
        );
        assert_eq!(reasons.contains("old died"), ["refused", "hidden"].contains(&name), "{name}: {reasons}");
        if host != socket && !let_through.is_empty() {
            let allowed = &isolation["allowed"][0];
            assert_eq!(
                (allowed["address"].as_str(), allowed["failed"].as_u64()),
                (Some(&*address), Some(0)),
                "{allowed}"
            );
            assert!(allowed["connections"].as_u64() > Some(0) && allowed["bytes_out"].as_u64() > Some(0), "{allowed}");
        }
        if code == 0 {
            assert_eq!(report["idempotency"]["new"]["repeated_effects"], 0, "{name}");
            assert!(report["idempotency"]["new"]["redelivered"].as_u64() > Some(0), "{name}");
        }
        assert_eq!(server.databases(), "", "{name}: each was removed behind its drive");
    }
}
