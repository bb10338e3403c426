//! Stubs as a build sees them: over connections.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::plan::Seed;

const PAY: &str = "
    [[effect]]
    name = 'pay'
    [[effect.rules]]
    method = 'POST'
    path = '/charges'
    status = 201
    body = { id = '{body.id}' }
";

fn started(toml: &str) -> (Stubs, Calls) {
    #[derive(serde::Deserialize)]
    struct Scenario {
        #[serde(default)]
        effect: Vec<EffectSettings>,
        #[serde(default)]
        stubs: StubSettings,
    }
    let Scenario { effect, stubs } = toml::from_str(toml).unwrap();
    let rules = StubRules::check(&effect, stubs, Path::new("."), Seed(7)).unwrap();
    Stubs::start(Some(&rules), None, rules.bounds, &KnownSchemas::default(), any_port).unwrap()
}

fn connect(stubs: &Stubs, name: &str) -> TcpStream {
    let stream = TcpStream::connect(stubs.addresses[name]).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

fn request(path: &str, key: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: pay\r\nidempotency-key: {key}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Reads one answer off a connection that stays open: its status and body.
fn answer(stream: &mut TcpStream) -> (u16, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "the connection ended: {}", String::from_utf8_lossy(&head));
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    (status, String::from_utf8(body).unwrap())
}

/// Takes so many calls, as they come.
fn take(calls: &mut Calls, count: usize) -> Vec<Call> {
    let mut taken = Vec::new();
    while taken.len() < count {
        match calls.take() {
            Some(call) => taken.push(call),
            None => thread::park_timeout(Duration::from_millis(1)),
        }
    }
    taken
}

#[test]
fn a_thousand_calls_at_fifty_at_once_are_answered_and_each_is_kept_in_the_order_of_arrival() {
    let (stubs, mut calls) = started(PAY);
    let kept = thread::scope(|scope| {
        for caller in 0..50 {
            let stubs = &stubs;
            scope.spawn(move || {
                let mut stream = connect(stubs, "effects.pay");
                for number in 0..20 {
                    let id = format!("{caller}-{number}");
                    stream.write_all(request("/charges", &id, &format!("{{\"id\":\"{id}\"}}")).as_bytes()).unwrap();
                    assert_eq!(answer(&mut stream), (201, format!("{{\"id\":\"{id}\"}}")));
                }
            });
        }
        take(&mut calls, 1_000)
    });
    let keys: BTreeSet<_> = kept.iter().map(|call| call.key.clone()).collect();
    assert_eq!((keys.len(), stubs.seen[0].1.count().calls), (1_000, 1_000));
    assert!(kept.is_sorted_by_key(|call| call.arrived_us));
    let value: Value = serde_json::from_slice(&kept[0].value).unwrap();
    assert_eq!((&value["status"], &value["path"]), (&Value::from(201), &Value::from("/charges")));
    assert!(calls.take().is_none());
}

/// Sends the registry a schema of `fields` fields under a subject; returns the status, and the id that it is given.
fn register(stream: &mut TcpStream, subject: &str, fields: usize) -> (u16, Value) {
    let fields: Vec<_> = (0..fields).map(|n| json!({ "name": format!("f{n}"), "type": "int", "default": 0 })).collect();
    let schema = json!({ "type": "record", "name": "O", "fields": fields }).to_string();
    let body = json!({ "schema": schema }).to_string();
    stream.write_all(request(&format!("/subjects/{subject}/versions"), "", &body).as_bytes()).unwrap();
    let (status, said) = answer(stream);
    (status, serde_json::from_str::<Value>(&said).unwrap()["id"].clone())
}

#[test]
fn a_thousand_schemas_at_fifty_at_once_are_registered_and_each_is_told() {
    let (stubs, _calls) = started(PAY);
    let mut ids: Vec<BTreeSet<i64>> = vec![BTreeSet::new(); 20];
    thread::scope(|scope| {
        let caller = |caller: usize| {
            let stubs = &stubs;
            move || {
                let mut stream = connect(stubs, "registry");
                let one = |fields| {
                    let (status, id) = register(&mut stream, &format!("s{caller}"), fields);
                    assert_eq!(status, 200, "{fields}");
                    id.as_i64().unwrap()
                };
                (0..20).map(one).collect::<Vec<_>>()
            }
        };
        let callers: Vec<_> = (0..50).map(|number| scope.spawn(caller(number))).collect();
        for caller in callers {
            for (known, id) in ids.iter_mut().zip(caller.join().unwrap()) {
                known.insert(id);
            }
        }
    });
    // The same schema has the same id, whoever came first with it.
    assert!(ids.iter().all(|ids| ids.len() == 1), "{ids:?}");
    assert_eq!(ids.iter().flatten().collect::<BTreeSet<_>>().len(), 20);
    let count = stubs.registry.as_ref().unwrap().count();
    assert_eq!((count.requests, count.registered.len(), count.untold), (1_000, 1_000, 0));
    let told: BTreeSet<_> = count.registered.iter().map(|one| (&one.subject, one.version)).collect();
    assert_eq!(told.len(), 1_000);
    // One more is registered as well, and counted.
    assert_eq!(register(&mut connect(&stubs, "registry"), "more", 1).0, 200);
    let count = stubs.registry.as_ref().unwrap().count();
    assert_eq!((count.requests, count.registered.len(), count.untold), (1_001, 1_000, 1));
}

#[test]
fn what_is_too_large_or_no_schema_for_the_registry_is_bounded_counted_and_hinders_nobody() {
    let (stubs, _calls) = started(&format!("{PAY}\n[stubs]\nbody-bytes-max = 1000\nrequest-timeout = '500ms'"));
    let mut stream = connect(&stubs, "registry");
    for (body, status) in [("x".repeat(300_000), 413), ("{".to_owned(), 422), (r#"{"schema":"no"}"#.to_owned(), 422)] {
        stream.write_all(request("/subjects/s/versions", "", &body).as_bytes()).unwrap();
        assert_eq!(answer(&mut stream).0, status);
    }
    let mut stream = connect(&stubs, "registry");
    stream.write_all(b"POST /subjects/s HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc").unwrap();
    assert_eq!(answer(&mut stream).0, 408);
    for bytes in [&b"nonsense\r\n\r\n"[..], b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc"] {
        let mut stream = connect(&stubs, "registry");
        stream.write_all(bytes).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    }
    assert_eq!(register(&mut connect(&stubs, "registry"), "s", 1).0, 200);
    while stubs.server.broken() < 2 {
        thread::park_timeout(Duration::from_millis(1));
    }
    let count = stubs.registry.as_ref().unwrap().count();
    assert_eq!((count.errors, count.registered.len()), ([(408, 1), (413, 1), (422, 2)].into(), 1));
}

#[test]
fn whoever_hangs_up_on_an_answer_that_is_held_back_sent_no_broken_request() {
    let (stubs, mut calls) = started(&format!("{PAY}    timeout-rate = '100%'\n"));
    for key in ["one", "two", "three"] {
        let mut stream = connect(&stubs, "effects.pay");
        stream.write_all(request("/charges", key, "{}").as_bytes()).unwrap();
        take(&mut calls, 1);
        stream.shutdown(Shutdown::Both).unwrap();
    }
    let mut stream = connect(&stubs, "effects.pay");
    stream.write_all(b"POST /charges HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc").unwrap();
    stream.shutdown(Shutdown::Both).unwrap();
    while stubs.server.broken() == 0 {
        thread::park_timeout(Duration::from_millis(1));
    }
    assert_eq!(stubs.server.broken(), 1);
}

#[test]
fn what_is_too_large_broken_or_cut_off_is_bounded_and_hinders_nobody() {
    let (stubs, mut calls) = started(&format!("{PAY}\n[stubs]\nbody-bytes-max = 1000\nrequest-timeout = '500ms'"));
    // Too large: answered, and what came after it on the same connection as well.
    let mut stream = connect(&stubs, "effects.pay");
    stream.write_all(request("/charges", "large", &"x".repeat(300_000)).as_bytes()).unwrap();
    assert_eq!(answer(&mut stream).0, 413);
    stream.write_all(request("/charges", "next", "{}").as_bytes()).unwrap();
    assert_eq!(answer(&mut stream).0, 201);
    // In chunks that say nothing of their sum.
    let mut stream = connect(&stubs, "effects.pay");
    stream.write_all(b"POST /charges HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
    for _ in 0..20 {
        stream.write_all(format!("64\r\n{}\r\n", "y".repeat(100)).as_bytes()).unwrap();
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    assert_eq!(answer(&mut stream).0, 413);
    // A body that never comes to its end.
    let mut stream = connect(&stubs, "effects.pay");
    stream.write_all(b"POST /charges HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc").unwrap();
    assert_eq!(answer(&mut stream).0, 408);
    // No HTTP, too long a head, a body that breaks off.
    for bytes in [b"nonsense\r\n\r\n".to_vec(), [b"GET / HTTP/1.1\r\na: ".to_vec(), vec![b'x'; 100_000]].concat()] {
        let mut stream = connect(&stubs, "effects.pay");
        // The stub may have answered and hung up before all was written.
        let _ = stream.write_all(&bytes);
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        assert!(all.is_empty() || all.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&all));
    }
    let mut stream = connect(&stubs, "effects.pay");
    stream.write_all(b"POST /charges HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc").unwrap();
    stream.shutdown(Shutdown::Both).unwrap();
    // Whoever calls after all that is answered as ever.
    let mut stream = connect(&stubs, "effects.pay");
    stream.write_all(request("/charges", "last", "{}").as_bytes()).unwrap();
    assert_eq!(answer(&mut stream).0, 201);
    while stubs.server.broken() < 3 {
        thread::park_timeout(Duration::from_millis(1));
    }
    let kept = take(&mut calls, 5);
    let statuses: Vec<_> = kept
        .iter()
        .map(|call| serde_json::from_slice::<Value>(&call.value).unwrap()["status"].as_u64().unwrap())
        .collect();
    assert_eq!(statuses, [413, 201, 413, 408, 201]);
    assert!(String::from_utf8_lossy(&kept[0].value).contains(r#""body_bytes":300000"#));
    assert!(kept.iter().all(|call| call.size() < 10_000));
}

#[test]
fn a_full_queue_makes_callers_wait_and_loses_nothing() {
    let (stubs, mut calls) = started(&format!("{PAY}\n[stubs]\nbody-bytes-max = 50_000_000"));
    let body = format!("{{\"id\":\"{}\"}}", "x".repeat(20_000_000));
    let kept = thread::scope(|scope| {
        // Each takes its body twice over, so that the third finds no room.
        for caller in 0..4 {
            let (stubs, body) = (&stubs, &body);
            scope.spawn(move || {
                let mut stream = connect(stubs, "effects.pay");
                stream.write_all(request("/charges", &caller.to_string(), body).as_bytes()).unwrap();
                assert_eq!(answer(&mut stream).0, 201);
            });
        }
        while stubs.seen[0].1.count().calls < 4 {
            thread::park_timeout(Duration::from_millis(1));
        }
        take(&mut calls, 4)
    });
    assert_eq!(kept.iter().map(|call| call.key.clone()).collect::<BTreeSet<_>>().len(), 4);
}

#[test]
fn what_can_no_longer_be_kept_is_not_answered() {
    let (stubs, mut calls) = started(PAY);
    let mut stream = connect(&stubs, "effects.pay");
    stream.write_all(request("/charges", "one", "{}").as_bytes()).unwrap();
    assert_eq!(answer(&mut stream).0, 201);
    calls.close();
    stream.write_all(request("/charges", "two", "{}").as_bytes()).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "it was answered");
    assert_eq!(take(&mut calls, 1)[0].key, b"one");
    assert!(calls.take().is_none());
}

#[test]
fn a_call_that_is_never_answered_ends_after_a_while_and_is_kept() {
    let toml = "[[effect]]\nname = 'pay'\n[[effect.rules]]\ntimeout-rate = 1\n[stubs]\nrequest-timeout = '50ms'";
    let (stubs, mut calls) = started(toml);
    let mut stream = connect(&stubs, "effects.pay");
    stream.write_all(request("/charges", "one", "{}").as_bytes()).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "it was answered");
    assert_eq!(take(&mut calls, 1)[0].key, b"one");
}

#[test]
fn an_answer_takes_as_long_as_its_rule_has_it() {
    let toml = "[[effect]]\nname = 'pay'\n[[effect.rules]]\nlatency = '120ms'";
    let (stubs, _calls) = started(toml);
    let clock = crate::clock::SystemClock::start();
    let mut stream = connect(&stubs, "effects.pay");
    stream.write_all(request("/charges", "one", "{}").as_bytes()).unwrap();
    assert_eq!(answer(&mut stream).0, 200);
    assert!(crate::clock::Clock::now(&clock) >= Duration::from_millis(120));
}

#[test]
fn stubs_end_with_their_drive_whoever_waits_for_an_answer() {
    let toml = "[[effect]]\nname = 'pay'\n[[effect.rules]]\nlatency = '50s'";
    let (stubs, mut calls) = started(toml);
    let (mut stream, address) = (connect(&stubs, "effects.pay"), stubs.addresses["effects.pay"]);
    stream.write_all(request("/charges", "one", "{}").as_bytes()).unwrap();
    take(&mut calls, 1);
    drop(stubs);
    assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)), "it was answered");
    assert!(TcpStream::connect(address).is_err(), "it listens still");
}

#[test]
fn bodies_that_come_at_once_have_room_for_so_many_bytes_and_no_more() {
    let bounds = "[stubs]\nbody-bytes-max = 1000\nin-flight-bytes-max = 1000";
    let (stubs, mut calls) = started(&format!("{PAY}\n{bounds}"));
    let body = format!("{{\"id\":\"{}\"}}", "x".repeat(500));
    let whole = request("/charges", "first", &body);
    let (head, rest) = whole.split_at(whole.len() - 100);
    // It is there by its greater part, and holds its room.
    let mut first = connect(&stubs, "effects.pay");
    first.write_all(head.as_bytes()).unwrap();
    // Small enough to come in beside it, which shows that it was looked at.
    let mut small = connect(&stubs, "effects.pay");
    small.write_all(request("/charges", "small", "{}").as_bytes()).unwrap();
    assert_eq!(answer(&mut small).0, 201);
    let mut second = connect(&stubs, "effects.pay");
    second.write_all(request("/charges", "second", &body).as_bytes()).unwrap();
    second.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(second.read(&mut [0]).is_err(), "it was answered, though there was no room for it");
    first.write_all(rest.as_bytes()).unwrap();
    assert_eq!(answer(&mut first).0, 201);
    second.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    assert_eq!(answer(&mut second).0, 201);
    let keys: Vec<_> = take(&mut calls, 3).into_iter().map(|call| call.key).collect();
    assert_eq!(keys.len(), 3, "{keys:?}");
}
