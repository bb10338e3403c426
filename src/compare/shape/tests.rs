use proptest::prelude::*;
use serde_json::{Value as Json, json};
use xxhash_rust::xxh3::xxh3_64;

use super::*;
use crate::compare::rules::Rules;
use crate::compare::values::differences;

fn rules(toml: &str) -> Rules {
    toml::from_str::<CompareSettings>(toml).unwrap().check().unwrap()
}

/// Whether two values have the same hash, after looking that the walk tells the same.
fn same(rules: &Rules, old: &str, new: &str) -> bool {
    let hash = |value: &str| {
        rules.scan(value.as_bytes()).map_or((xxh3_64(value.as_bytes()), 0), |found| (found.said, found.tolerated))
    };
    let ((old_said, old_near), (new_said, new_near)) = (hash(old), hash(new));
    let found = differences(Some(old.as_bytes()), Some(new.as_bytes()), rules);
    let walked = found.changes.is_empty();
    let exact = walked && found.tolerated.is_empty();
    assert_eq!((old_said, old_near) == (new_said, new_near), exact, "{old} {new} {found:?}");
    // What tolerances make equal is looked for among what is equal but for tolerated places.
    assert!(!walked || old_said == new_said, "{old} {new}");
    walked
}

#[track_caller]
fn check(toml: &str, alike: &[&str], others: &[&str]) {
    let rules = rules(toml);
    for one in alike {
        for twin in alike {
            assert!(same(&rules, one, twin), "{toml}: {one} and {twin}");
        }
        for other in others {
            assert!(!same(&rules, one, other) && !same(&rules, other, one), "{toml}: {one} and {other}");
        }
    }
}

#[test]
fn a_set_is_equal_in_any_order_and_only_with_as_many_of_each() {
    check(
        "set = ['$.tags']",
        &[r#"{"tags":["a","b","b"]}"#, r#"{"tags":["b","a","b"]}"#],
        &[
            r#"{"tags":["a","b"]}"#,
            r#"{"tags":["a","a","b"]}"#,
            r#"{"tags":["a","b","B"]}"#,
            r#"{"tags":["a","b","b",null]}"#,
            r#"{"tags":{"a":"b"}}"#,
            "{}",
        ],
    );
    check("set = ['$']", &["[1,2]", "[2,1.0]"], &["[1,2,2]", "[1]"]);
    check("set = ['$', '$[*]']", &["[[1,2],[3]]", "[[3],[2,1]]"], &["[[1],[2,3]]"]);
    check(
        "set = ['$..tags']",
        &[r#"{"a":[{"tags":[1,2]}]}"#, r#"{"a":[{"tags":[2,1]}]}"#],
        &[r#"{"a":[{"tags":[2]}]}"#],
    );
    check("", &[r#"{"tags":["a","b"]}"#], &[r#"{"tags":["b","a"]}"#]);
}

#[test]
fn a_keyed_list_is_equal_by_key_and_drops_no_element() {
    let toml = "keyed-by = [{ path = '$.items', key = '$.p.sku' }]";
    check(
        toml,
        &[
            r#"{"items":[{"p":{"sku":1},"n":1},{"p":{"sku":2},"n":2},{"x":7}]}"#,
            r#"{"items":[{"x":7},{"p":{"sku":2},"n":2},{"p":{"sku":1.0},"n":1}]}"#,
        ],
        &[
            r#"{"items":[{"p":{"sku":1},"n":2},{"p":{"sku":2},"n":1},{"x":7}]}"#,
            r#"{"items":[{"p":{"sku":1},"n":1},{"p":{"sku":2},"n":2}]}"#,
            r#"{"items":[{"p":{"sku":1},"n":1},{"p":{"sku":2},"n":2},{"x":8}]}"#,
            r#"{"items":[{"p":{"sku":1},"n":1},{"p":{"sku":2},"n":2},{"x":7},7]}"#,
        ],
    );
    // Of one key, and of none, they pair in order.
    check(
        toml,
        &[
            r#"{"items":[{"p":{"sku":1},"n":1},{"p":{"sku":1},"n":2},3,4]}"#,
            r#"{"items":[3,{"p":{"sku":1},"n":1},4,{"p":{"sku":1},"n":2}]}"#,
        ],
        &[
            r#"{"items":[{"p":{"sku":1},"n":2},{"p":{"sku":1},"n":1},3,4]}"#,
            r#"{"items":[{"p":{"sku":1},"n":1},{"p":{"sku":1},"n":2},4,3]}"#,
            r#"{"items":[{"p":{"sku":1},"n":1},{"p":{"sku":1},"n":2},{"p":{"sku":1},"n":2},3,4]}"#,
        ],
    );
    let found = differences(
        Some(br#"{"items":[{"p":{"sku":1},"n":1},{"p":{"sku":2},"n":5}]}"#),
        Some(br#"{"items":[{"p":{"sku":3},"n":1},{"p":{"sku":2},"n":6}]}"#),
        &rules(toml),
    );
    let changes: Vec<String> = found.changes.iter().map(|(path, change)| format!("{path} {change:?}")).collect();
    assert_eq!(changes, ["$.items[*] Added", "$.items[*] Removed", "$.items[*].n Value"]);
}

#[test]
fn ties_at_the_cut_may_be_broken_either_way_and_no_others() {
    let top = |list: &[(&str, i32)]| {
        let list: Vec<Json> = list.iter().map(|(id, score)| json!({ "id": id, "score": score })).collect();
        json!({ "top": list }).to_string()
    };
    let full = top(&[("a", 9), ("b", 7), ("c", 7), ("d", 5), ("e", 5)]);
    let [swapped, other, both] = [
        top(&[("a", 9), ("c", 7), ("b", 7), ("e", 5), ("d", 5)]),
        top(&[("a", 9), ("b", 7), ("c", 7), ("d", 5), ("f", 5)]),
        top(&[("a", 9), ("c", 7), ("b", 7), ("x", 5), ("y", 5)]),
    ];
    let wrong = [
        top(&[("a", 9), ("b", 7), ("x", 7), ("d", 5), ("e", 5)]),
        top(&[("a", 9), ("b", 7), ("c", 7), ("d", 5)]),
        top(&[("a", 9), ("b", 7), ("c", 7), ("d", 5), ("e", 4)]),
        top(&[("b", 7), ("a", 9), ("c", 7), ("d", 5), ("e", 5)]),
        top(&[("x", 9), ("b", 7), ("c", 7), ("d", 5), ("e", 5)]),
    ];
    let wrong: Vec<&str> = wrong.iter().map(String::as_str).collect();
    let by = "any-of = [{ path = '$.top', by = '$.score' }]";
    check(by, &[&full, &swapped, &other, &both], &wrong);
    check("any-of = [{ path = '$.top', by = '$.score', n = 5 }]", &[&full, &swapped, &other, &both], &wrong);
    // Fewer than n were there: all of them are in it, and none can be another.
    check("any-of = [{ path = '$.top', by = '$.score', n = 6 }]", &[&full, &swapped], &[&other, &both]);
    // What has no rank is no ranked list.
    let ranked = r#"{"top":[{"score":5,"id":1},{"id":2}]}"#;
    check(by, &[ranked], &[r#"{"top":[{"score":5,"id":1},{"id":3}]}"#, r#"{"top":[{"id":2},{"score":5,"id":1}]}"#]);
}

#[test]
fn one_of_several_right_answers_is_as_good_as_another() {
    for among in ["$.tied[*]", "$.tied"] {
        check(
            &format!("any-of = [{{ path = '$.winner', among = '{among}' }}]"),
            &[r#"{"winner":"a","tied":["a","b"]}"#, r#"{"winner":"b","tied":["a","b"]}"#],
            &[
                r#"{"winner":"c","tied":["a","b"]}"#,
                r#"{"winner":"c","tied":["a","b","c"]}"#,
                r#"{"winner":null,"tied":["a","b"]}"#,
                r#"{"tied":["a","b"]}"#,
            ],
        );
    }
    check(
        "any-of = [{ path = '$.via', values = ['cache', 7, [1]] }]",
        &[r#"{"via":"cache"}"#, r#"{"via":7.0}"#, r#"{"via":[1]}"#],
        &[r#"{"via":"disk"}"#, r#"{"via":"7"}"#, "{}"],
    );
}

#[test]
fn values_are_normalised_only_where_that_is_declared() {
    check(
        "normalise = [{ path = '$.at', as = 'timestamp' }]",
        &[
            r#"{"at":"2013-01-05T00:00:00Z"}"#,
            r#"{"at":"2013-01-05T01:00:00.000+01:00"}"#,
            r#"{"at":"2013-01-04 19:00:00-0500"}"#,
            r#"{"at":"20130105T000000Z"}"#,
            r#"{"at":"Sat, 05 Jan 2013 00:00:00 GMT"}"#,
            r#"{"at":"2013-01-05"}"#,
            r#"{"at":"2013-01-05T00:00"}"#,
            r#"{"at":"2013-01-04T24:00:00Z"}"#,
            r#"{"at":1357344000}"#,
            r#"{"at":1357344000.0}"#,
            r#"{"at":1357344000000}"#,
            r#"{"at":"1357344000000"}"#,
            r#"{"at":1357344000000000}"#,
            r#"{"at":1357344000000000000}"#,
        ],
        &[
            r#"{"at":"2013-01-05T00:00:01Z"}"#,
            r#"{"at":"2013-01-05T00:00:00.000000001Z"}"#,
            r#"{"at":"2013-01-05T00:00:00+01:00"}"#,
            r#"{"at":1357344001}"#,
            r#"{"at":-1357344000}"#,
            r#"{"at":"2013-02-30"}"#,
            r#"{"at":"soon"}"#,
            r#"{"at":null}"#,
            "{}",
        ],
    );
    check(
        "normalise = [{ path = '$.at', as = 'timestamp', unit = 'ms' }]",
        &[r#"{"at":1357344000000}"#, r#"{"at":"2013-01-05T00:00:00Z"}"#],
        &[r#"{"at":1357344000}"#, r#"{"at":1357344000000000}"#],
    );
    check(
        "normalise = [{ path = '$.n', as = 'decimal' }]",
        &[r#"{"n":"19.90"}"#, r#"{"n":19.9}"#, r#"{"n":"+1.99e1"}"#, r#"{"n":"019.9"}"#],
        &[r#"{"n":"19.91"}"#, r#"{"n":-19.9}"#, r#"{"n":"19,90"}"#, r#"{"n":"19.90 EUR"}"#, r#"{"n":""}"#],
    );
    check(
        "normalise = [{ path = '$.n', as = 'integer' }]",
        &[r#"{"n":"7"}"#, r#"{"n":7}"#, r#"{"n":7.0}"#, r#"{"n":"007"}"#],
        &[r#"{"n":"7.0"}"#, r#"{"n":7.5}"#, r#"{"n":"8"}"#, r#"{"n":"-7"}"#, r#"{"n":" 7"}"#, r#"{"n":true}"#],
    );
    check("normalise = [{ path = '$.c', as = 'lower' }]", &[r#"{"c":"ÄB"}"#, r#"{"c":"äb"}"#], &[r#"{"c":"ab"}"#]);
    let both = "normalise = [{ path = '$.c', as = 'trim' }, { path = '$.*', as = 'lower' }]";
    check(both, &[r#"{"c":" A b\n"}"#, r#"{"c":"a B"}"#], &[r#"{"c":"ab"}"#]);
    check("", &[r#"{"n":"7"}"#], &[r#"{"n":7}"#]);
    check("", &[r#"{"at":"2013-01-05"}"#], &[r#"{"at":"2013-01-05T00:00:00Z"}"#]);
}

#[test]
fn what_a_pattern_matches_counts_as_something_and_no_more() {
    check(
        "mask-regex = [{ path = '$.text', pattern = 'req-[0-9a-f]+' }]",
        &[r#"{"text":"see req-1a, req-2"}"#, r#"{"text":"see req-ff, req-0"}"#],
        &[r#"{"text":"see req-1a"}"#, r#"{"text":"see , "}"#, r#"{"text":"seen req-1a, req-2"}"#, r#"{"text":7}"#],
    );
    let plain = "mask-regex = [{ path = '$', pattern = '[0-9]+ ms' }]";
    check(plain, &["took 5 ms", "took 70 ms"], &["took ms", "needed 5 ms", r#""took 5 ms""#, "took"]);
    check(plain, &[r#""took 5 ms""#, r#""took 7 ms""#], &["took 5 ms"]);
    check("normalise = [{ path = '$', as = 'lower' }]", &["NULL", "Null"], &["null", "\"null\""]);
}

#[test]
fn several_rules_act_at_one_place_and_below_one_another() {
    let toml = "set = ['$.items']
        tolerance = [{ path = '$.items[*].n', absolute = 0.5 }, { path = '$.sum', absolute = 0.5 }]
        normalise = [{ path = '$.sum', as = 'decimal' }, { path = '$.items[*].c', as = 'lower' }]
        ignore = ['$.items[*].at']";
    let rules = rules(toml);
    let near = |old: &str, new: &str| same(&rules, old, new);
    assert!(near(r#"{"sum":"5.0"}"#, r#"{"sum":5.4}"#));
    assert!(!near(r#"{"sum":"5.0"}"#, r#"{"sum":"5.6"}"#));
    let old = r#"{"items":[{"c":"A","n":1,"at":1},{"c":"b","n":1.4},{"c":"b","n":2}]}"#;
    assert!(near(old, r#"{"items":[{"c":"B","n":2},{"n":1.0,"c":"b"},{"c":"a","n":1,"at":9}]}"#));
    // 1.4 may stand for 1.7 and 2 for 2.4, but 1.4 for none of 2.0 and 2.4.
    assert!(near(old, r#"{"items":[{"c":"B","n":2.4},{"n":1.7,"c":"b"},{"c":"a","n":1}]}"#));
    assert!(!near(old, r#"{"items":[{"c":"B","n":2.4},{"n":2,"c":"b"},{"c":"a","n":1}]}"#));
}

#[test]
fn as_many_elements_pair_within_a_tolerance_as_can_be() {
    let of_two =
        rules("set = ['$']\ntolerance = [{ path = '$[*].x', absolute = 1 }, { path = '$[*].y', absolute = 1 }]");
    let list = |points: &[(i32, i32)]| {
        let points: Vec<Json> = points.iter().map(|(x, y)| json!({ "x": x, "y": y })).collect();
        Json::from(points).to_string()
    };
    assert!(same(&of_two, &list(&[(0, 5), (1, 0), (2, 5)]), &list(&[(1, 4), (1, 1), (1, 6)])));
    assert!(!same(&of_two, &list(&[(0, 5), (1, 0), (2, 5)]), &list(&[(1, 4), (1, 2), (1, 6)])));
}

#[test]
fn what_is_wrong_is_named_by_its_key() {
    for (toml, key) in [
        ("set = ['$.a', 'b']", "compare.set[1]"),
        ("set = ['$.a[?@.b]']", "compare.set[0]"),
        ("set = ['$.a', '$.a']", "compare.set[1]"),
        ("set = ['$.a']\nkeyed-by = [{ path = '$.a', key = '$.k' }]", "compare.set[0]"),
        ("keyed-by = [{ path = 'a', key = '$.k' }]", "compare.keyed-by[0].path"),
        ("keyed-by = [{ path = '$.a', key = '$[0]' }]", "compare.keyed-by[0].key"),
        ("keyed-by = [{ path = '$.a', key = '$' }]", "compare.keyed-by[0].key"),
        ("keyed-by = [{ path = '$.a', key = '$..k' }]", "compare.keyed-by[0].key"),
        ("any-of = [{ path = '$.a' }]", "compare.any-of[0]"),
        ("any-of = [{ path = '$.a', by = '$.b', among = '$.c' }]", "compare.any-of[0]"),
        ("any-of = [{ path = '$.a', by = '$.b', n = 0 }]", "compare.any-of[0].n"),
        ("any-of = [{ path = '$.a', among = '$.b', n = 3 }]", "compare.any-of[0].n"),
        ("any-of = [{ path = '$.a', among = '$' }]", "compare.any-of[0].among"),
        ("any-of = [{ path = '$.a', values = [] }]", "compare.any-of[0].values"),
        ("normalise = [{ path = 'a', as = 'lower' }]", "compare.normalise[0].path"),
        ("normalise = [{ path = '$.a', as = 'lower', unit = 'ms' }]", "compare.normalise[0].unit"),
        ("mask-regex = [{ path = '$.a', pattern = '(' }]", "compare.mask-regex[0].pattern"),
        ("mask-regex = [{ path = '$.a', pattern = 'x*' }]", "compare.mask-regex[0].pattern"),
        ("mask-regex = [{ path = '$.a', pattern = '(?=x)' }]", "compare.mask-regex[0].pattern"),
        ("set = ['$.a']\nignore = ['$.a[0].b']", "compare.ignore[0]"),
        ("set = ['$..a']\nidentity = ['$.b.a[1]']", "compare.identity[0]"),
        ("set = ['$.a']\ntolerance = [{ path = '$.*[2]', absolute = 1 }]", "compare.tolerance[0].path"),
        ("ignore = ['$.x']\ntopics.pay.ignore = ['$.y', 'z']", "compare.topics.pay.ignore[1]"),
        ("topics.pay.tolerance = [{ path = '$.a' }]", "compare.topics.pay.tolerance[0]"),
        ("set = ['$.a']\ntopics.pay.set = ['$.a']", "compare.topics.pay.set[0]"),
        (
            "set = ['$.a']\ntopics.pay.normalise = [{ path = '$.a[0]', as = 'trim' }]",
            "compare.topics.pay.normalise[0].path",
        ),
    ] {
        let error = toml::from_str::<CompareSettings>(toml).unwrap().check().unwrap_err();
        assert_eq!(error.key, key, "{toml}");
        assert!(!error.instead.is_empty(), "{toml}");
    }
    for unknown in ["sets = ['$.a']", "topics.pay.order = 'none'", "keyed-by = [{ path = '$.a', by = '$.b' }]"] {
        assert!(toml::from_str::<CompareSettings>(unknown).is_err(), "{unknown}");
    }
    // A place counts beside a set, and where another array is meant.
    for fine in ["set = ['$.a']\nignore = ['$.b[0]']", "set = ['$.a[*].b']\nignore = ['$.a[0].c']"] {
        assert!(toml::from_str::<CompareSettings>(fine).unwrap().check().is_ok(), "{fine}");
    }
}

const RULES: [&str; 12] = [
    "set = ['$.list']",
    "set = ['$.list', '$.list[*].list']\nignore = ['$.list[*].c']",
    "set = ['$..list']\ntolerance = [{ path = '$..a', absolute = 1 }]",
    "keyed-by = [{ path = '$.list', key = '$.a' }]",
    "keyed-by = [{ path = '$.list', key = '$.a' }]\nset = ['$.list[*].list']\ntolerance = [{ path = '$.list[*].b', absolute = 1 }]",
    "any-of = [{ path = '$.list', by = '$.a' }]",
    "any-of = [{ path = '$.list', by = '$.a', n = 2 }]\ntolerance = [{ path = '$.list[*].b', absolute = 1 }]",
    "any-of = [{ path = '$.a', among = '$.list[*].a' }, { path = '$..b', values = [1, 'X'] }]",
    "normalise = [{ path = '$..a', as = 'integer' }, { path = '$..b', as = 'lower' }]\nset = ['$.list']",
    "mask-regex = [{ path = '$..a', pattern = '[0-9]' }]\nkeyed-by = [{ path = '$..list', key = '$.a' }]",
    "ignore = ['$..a']\nset = ['$..list']\nnormalise = [{ path = '$..b', as = 'trim' }]\ntolerance = [{ path = '$..c', relative = 0.5 }]",
    "identity = ['$.b']\nset = ['$']\nignore = ['$.list[?@.a == 1]']\nany-of = [{ path = '$..list', by = '$.b' }]",
];

fn leaf() -> impl Strategy<Value = Json> {
    prop_oneof![
        (0..3).prop_map(Json::from),
        prop::sample::select(vec!["x", "X", "1", " x", ""]).prop_map(Json::from),
        Just(Json::Null),
        Just(json!(1.5)),
    ]
}

fn value() -> impl Strategy<Value = Json> {
    let member = |inner: BoxedStrategy<Json>| {
        prop::collection::btree_map("[abc]", inner, 0..3).prop_map(|members| members.into_iter().collect::<Json>())
    };
    let inner = prop_oneof![3 => member(leaf().boxed()), 1 => leaf()];
    let with_list = (member(leaf().boxed()), prop::collection::vec(inner, 0..4)).prop_map(|(mut value, list)| {
        value["list"] = Json::from(list);
        value
    });
    (with_list.clone(), prop::collection::vec(prop_oneof![with_list, leaf()], 0..3)).prop_map(|(mut value, further)| {
        value["list"].as_array_mut().unwrap().extend(further);
        value
    })
}

/// The same value with its lists in another order, and perhaps a leaf changed.
fn shuffled(value: &Json, by: usize, change: Option<&Json>) -> Json {
    let mut value = value.clone();
    if let Some(list) = value.get_mut("list").and_then(Json::as_array_mut) {
        let middle = by % list.len().max(1);
        list.rotate_left(middle);
        if by % 2 == 1 {
            list.reverse();
        }
        for element in list.iter_mut() {
            *element = shuffled(element, by / 2, None);
        }
        if let (Some(change), Some(first)) = (change, list.first_mut()) {
            match first.as_object_mut().and_then(|members| members.values_mut().next()) {
                Some(member) => *member = change.clone(),
                None => *first = change.clone(),
            }
        }
    }
    value
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn hashes_are_equal_exactly_where_the_walk_finds_nothing(
        toml in prop::sample::select(&RULES[..]),
        one in value(),
        other in value(),
        by in 0..12_usize,
        change in prop::option::of(leaf()),
    ) {
        let rules = rules(toml);
        let shuffled = shuffled(&one, by, change.as_ref());
        for (old, new) in [(&one, &other), (&one, &shuffled), (&shuffled, &one), (&one, &one)] {
            let walked = same(&rules, &old.to_string(), &new.to_string());
            prop_assert!(walked || old != new);
            // However it is spelled.
            let pretty = serde_json::to_string_pretty(new).unwrap();
            prop_assert_eq!(walked, same(&rules, &old.to_string(), &pretty));
        }
    }

    #[test]
    fn lists_without_places_are_equal_however_they_are_turned(
        toml in prop::sample::select(vec!["set = ['$..list']", "set = ['$..list']\nignore = ['$..c']\ntolerance = [{ path = '$..a', absolute = 1 }]"]),
        one in value(),
        by in 0..12_usize,
    ) {
        prop_assert!(same(&rules(toml), &one.to_string(), &shuffled(&one, by, None).to_string()));
    }
}
