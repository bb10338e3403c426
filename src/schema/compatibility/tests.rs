//! Each rule from both sides: what breaks it, and the nearest change that does not.

use serde_json::{Value, json};

use super::*;
use crate::schema::Reference;

fn text(kind: SchemaKind, schema: impl Into<String>) -> SchemaText {
    SchemaText { id: 1, kind, schema: schema.into(), references: Vec::new(), subjects: Vec::new() }
}

/// Rules that break each direction, backward first, with their paths.
#[track_caller]
fn check(kind: SchemaKind, old: &str, new: &str, backward: &[(&str, &str)], forward: &[(&str, &str)]) {
    let found = compatibility(&text(kind, old), &text(kind, new)).unwrap();
    let of = |direction: Direction| {
        let breaks = found.breaks.iter().filter(move |broken| broken.direction == direction);
        breaks.map(|broken| (broken.path.as_str(), broken.rule.0)).collect::<Vec<_>>()
    };
    assert_eq!(
        (of(Direction::Backward).as_slice(), of(Direction::Forward).as_slice()),
        (backward, forward),
        "{old} {new}"
    );
    let level = match (backward.is_empty(), forward.is_empty()) {
        (true, true) => Level::Full,
        (true, false) => Level::Backward,
        (false, true) => Level::Forward,
        (false, false) => Level::None,
    };
    assert_eq!(found.level, level);
}

fn avro(old: &Value, new: &Value, backward: &[(&str, &str)], forward: &[(&str, &str)]) {
    check(SchemaKind::Avro, &old.to_string(), &new.to_string(), backward, forward);
}

fn record(fields: &Value) -> Value {
    json!({"type": "record", "name": "R", "namespace": "n", "fields": fields})
}

#[test]
fn avro_fields_come_and_go_with_a_default() {
    let id = json!({"name": "id", "type": "long"});
    let bare = json!({"name": "note", "type": "string"});
    let with_default = json!({"name": "note", "type": "string", "default": ""});
    let missing = [("$.note", "READER_FIELD_MISSING_DEFAULT_VALUE")];
    avro(&record(&json!([id])), &record(&json!([id, with_default])), &[], &[]);
    avro(&record(&json!([id])), &record(&json!([id, bare])), &missing, &[]);
    avro(&record(&json!([id, bare])), &record(&json!([id])), &[], &missing);
    // Under another name, only who knows the alias reads it.
    let renamed = json!({"name": "key", "type": "long", "aliases": ["id"]});
    avro(&record(&json!([id])), &record(&json!([renamed])), &[], &[("$.id", "READER_FIELD_MISSING_DEFAULT_VALUE")]);
}

#[test]
fn avro_types_are_promoted_in_one_direction() {
    let mismatch = [("$", "TYPE_MISMATCH")];
    for (old, new) in [("int", "long"), ("int", "double"), ("long", "float"), ("float", "double")] {
        avro(&json!(old), &json!(new), &[], &mismatch);
    }
    avro(&json!("string"), &json!("bytes"), &[], &[]);
    avro(&json!("string"), &json!("int"), &mismatch, &mismatch);
    let array = |items: &str| json!({"type": "array", "items": items});
    let map = |values: &str| json!({"type": "map", "values": values});
    avro(&array("int"), &array("long"), &[], &[("$[*]", "TYPE_MISMATCH")]);
    avro(&map("string"), &map("int"), &[("$.*", "TYPE_MISMATCH")], &[("$.*", "TYPE_MISMATCH")]);
    avro(&array("int"), &map("int"), &mismatch, &mismatch);
}

#[test]
fn avro_unions_enums_fixeds_and_names() {
    let branch = [("$", "MISSING_UNION_BRANCH")];
    avro(&json!(["null", "string"]), &json!(["null", "string", "int"]), &[], &branch);
    avro(&json!("string"), &json!(["null", "string"]), &[], &[("$", "TYPE_MISMATCH")]);
    let color = |symbols: &Value, default: &Value| match default {
        Value::Null => json!({"type": "enum", "name": "E", "symbols": symbols}),
        default => json!({"type": "enum", "name": "E", "symbols": symbols, "default": default}),
    };
    let symbols = [("$", "MISSING_ENUM_SYMBOLS")];
    avro(&color(&json!(["A"]), &Value::Null), &color(&json!(["A", "B"]), &Value::Null), &[], &symbols);
    avro(&color(&json!(["A"]), &json!("A")), &color(&json!(["A", "B"]), &Value::Null), &[], &[]);
    let fixed = |name: &str, size: u32| json!({"type": "fixed", "name": name, "size": size});
    let size = [("$", "FIXED_SIZE_MISMATCH")];
    avro(&fixed("F", 4), &fixed("F", 8), &size, &size);
    let name = [("$", "NAME_MISMATCH")];
    avro(&fixed("F", 4), &fixed("G", 4), &name, &name);
    let aliased = json!({"type": "fixed", "name": "G", "size": 4, "aliases": ["F"]});
    avro(&fixed("F", 4), &aliased, &[], &name);
    avro(&fixed("a.F", 4), &fixed("b.F", 4), &[], &[]);
}

#[test]
fn avro_schemas_of_real_size_are_compared_where_they_hold_themselves() {
    let order = include_str!("../../../tests/schemas/order.avsc");
    let address = include_str!("../../../tests/schemas/address.avsc");
    let of = |order: String, address: &str| SchemaText {
        references: vec![Reference {
            name: "shop.common.Address".to_owned(),
            subject: "address".to_owned(),
            version: 1,
            schema: address.to_owned(),
        }],
        ..text(SchemaKind::Avro, order)
    };
    let old = of(order.to_owned(), address);
    assert_eq!(compatibility(&old, &old).unwrap().level, Level::Full);
    // A country more, which is met in two places and said at the first, and a quantity that is longer.
    let new = of(
        order.replace(r#""quantity", "type": "int""#, r#""quantity", "type": "long""#),
        &address.replace(r#""US""#, r#""US", "JP""#),
    );
    let found = compatibility(&old, &new).unwrap();
    let breaks: Vec<_> = found.breaks.iter().map(|b| (b.direction, b.path.as_str(), b.rule.0)).collect();
    assert_eq!(
        breaks,
        [
            (Direction::Forward, "$.customer.address.country", "MISSING_ENUM_SYMBOLS"),
            (Direction::Forward, "$.lines[*].quantity", "TYPE_MISMATCH"),
        ]
    );
    assert_eq!(found.level, Level::Backward);
}

fn proto(old: &str, new: &str, backward: &[(&str, &str)], forward: &[(&str, &str)]) {
    let file = |body: &str| format!("syntax = \"proto3\"; package shop; {body}");
    check(SchemaKind::Protobuf, &file(old), &file(new), backward, forward);
}

#[test]
fn protobuf_fields_come_go_and_are_renamed_and_keep_their_kind() {
    proto("message M { int32 a = 1; }", "message M { int32 b = 1; string c = 2; }", &[], &[]);
    proto("message M { int32 a = 1; }", "message M { int64 a = 1; }", &[], &[]);
    proto("message M { E a = 1; } enum E { X = 0; }", "message M { uint32 a = 1; }", &[], &[]);
    proto("message M { string a = 1; }", "message M { bytes a = 1; }", &[], &[]);
    proto("message M { string a = 1; }", "message M { repeated string a = 1; }", &[], &[]);
    let scalar = [("M#1", "FIELD_SCALAR_KIND_CHANGED")];
    proto("message M { int32 a = 1; }", "message M { sint32 a = 1; }", &scalar, &scalar);
    proto("message M { int32 a = 1; }", "message M { string a = 1; }", &scalar, &scalar);
    let label = [("M#1", "FIELD_NUMERIC_LABEL_CHANGED")];
    proto("message M { int32 a = 1; }", "message M { repeated int32 a = 1; }", &label, &label);
    let kind = [("M#1", "FIELD_KIND_CHANGED")];
    proto(
        "message M { int32 a = 1; }",
        "message M { N a = 1; message N {} }",
        &kind,
        &[kind[0], ("M.N", "MESSAGE_REMOVED")],
    );
    proto("message M { map<string, int32> a = 1; }", "message M { string a = 1; }", &kind, &kind);
    proto("message M { map<string, int32> a = 1; }", "message M { map<string, string> a = 1; }", &scalar, &scalar);
    proto("message M { map<string, int32> a = 1; }", "message M { map<string, int64> a = 1; }", &[], &[]);
}

#[test]
fn protobuf_messages_stay_and_are_compared_wherever_they_stand() {
    proto("message M {}", "message M {} message N {}", &[], &[("N", "MESSAGE_REMOVED")]);
    let named = [("M#1", "FIELD_NAMED_TYPE_CHANGED")];
    let both = "message A {} message B {}";
    proto(&format!("message M {{ A a = 1; }} {both}"), &format!("message M {{ B a = 1; }} {both}"), &named, &named);
    let inner = [("M.N#1", "FIELD_SCALAR_KIND_CHANGED")];
    proto(
        "message M { N n = 1; message N { int32 a = 1; M m = 2; } }",
        "message M { N n = 1; message N { float a = 1; M m = 2; } }",
        &inner,
        &inner,
    );
}

#[test]
fn protobuf_oneofs_lose_no_field_and_take_at_most_one() {
    let free = "message M { string a = 1; string b = 2; }";
    proto(free, "message M { oneof o { string a = 1; } string b = 2; }", &[], &[]);
    proto(
        free,
        "message M { oneof o { string a = 1; string b = 2; } }",
        &[("M.o", "MULTIPLE_FIELDS_MOVED_TO_ONEOF")],
        &[],
    );
    let full = "message M { oneof o { string a = 1; string b = 2; } }";
    let lost = [("M#2", "ONEOF_FIELD_REMOVED")];
    proto(full, "message M { oneof o { string a = 1; } }", &lost, &[]);
    let existing = [("M.o", "FIELD_MOVED_TO_EXISTING_ONEOF")];
    proto("message M { oneof o { string a = 1; } string b = 2; }", full, &existing, &[]);
    // `optional` of proto3 stands in a oneof that nobody wrote.
    proto("message M { int32 a = 1; }", "message M { optional int32 a = 1; }", &[], &[]);
    proto("message M { optional int32 a = 1; }", "message M { }", &[], &[]);
}

#[test]
fn protobuf_required_fields_neither_come_nor_go() {
    let file = |body: &str| format!("syntax = \"proto2\"; message M {{ {body} }}");
    let (with, without) = (file("required int32 a = 1;"), file(""));
    let (added, removed) = ([("M#1", "REQUIRED_FIELD_ADDED")], [("M#1", "REQUIRED_FIELD_REMOVED")]);
    check(SchemaKind::Protobuf, &without, &with, &added, &removed);
    check(SchemaKind::Protobuf, &file("optional int32 a = 1;"), &without, &[], &[]);
}

#[test]
fn a_protobuf_group_is_no_message() {
    let changed = [("M#1", "FIELD_KIND_CHANGED")];
    let group = "syntax = \"proto2\"; message M { optional group G = 1 { optional int32 a = 1; } }";
    let message = "syntax = \"proto2\"; message M { optional G g = 1; message G { optional int32 a = 1; } }";
    check(SchemaKind::Protobuf, group, message, &changed, &changed);
    check(SchemaKind::Protobuf, group, group, &[], &[]);
}

fn json_schema(old: &Value, new: &Value, backward: &[(&str, &str)], forward: &[(&str, &str)]) {
    check(SchemaKind::Json, &old.to_string(), &new.to_string(), backward, forward);
}

fn object(properties: &Value, more: &Value) -> Value {
    let mut schema = json!({"type": "object", "properties": properties});
    schema.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    schema
}

#[test]
fn json_objects_open_closed_and_in_between() {
    let (a, ab) = (json!({"a": {"type": "string"}}), json!({"a": {"type": "string"}, "b": {"type": "integer"}}));
    let (open, closed) = (json!({}), json!({"additionalProperties": false}));
    let at = "#/properties/b";
    json_schema(&object(&a, &open), &object(&ab, &open), &[(at, "PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL")], &[]);
    json_schema(
        &object(&a, &closed),
        &object(&ab, &closed),
        &[],
        &[(at, "PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL")],
    );
    json_schema(&object(&a, &open), &object(&json!({"a": {"type": "string"}, "b": true}), &open), &[], &[]);
    let of = |kind: &str| json!({"additionalProperties": {"type": kind}});
    json_schema(&object(&a, &of("integer")), &object(&ab, &of("integer")), &[], &[]);
    json_schema(
        &object(&a, &of("string")),
        &object(&ab, &of("string")),
        &[(at, "PROPERTY_ADDED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL"), (at, "TYPE_CHANGED")],
        &[(at, "PROPERTY_REMOVED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL"), (at, "TYPE_CHANGED")],
    );
    let others = "#/additionalProperties";
    json_schema(&object(&a, &open), &object(&a, &closed), &[(others, "ADDITIONAL_PROPERTIES_REMOVED")], &[]);
    json_schema(&object(&a, &open), &object(&a, &of("string")), &[(others, "ADDITIONAL_PROPERTIES_NARROWED")], &[]);
    json_schema(&object(&a, &of("integer")), &object(&a, &of("number")), &[], &[(others, "TYPE_NARROWED")]);
}

#[test]
fn json_members_that_must_be_there() {
    let a = json!({"a": {"type": "string"}});
    let required = json!({"required": ["a"]});
    json_schema(&object(&a, &json!({})), &object(&a, &required), &[("#/required/a", "REQUIRED_ATTRIBUTE_ADDED")], &[]);
    let with_default = json!({"a": {"type": "string", "default": ""}});
    json_schema(&object(&a, &json!({})), &object(&with_default, &required), &[], &[]);
    let closed = |required: &Value| json!({"additionalProperties": false, "required": required});
    json_schema(
        &object(&json!({}), &closed(&json!([]))),
        &object(&a, &closed(&json!(["a"]))),
        &[("#/properties/a", "REQUIRED_PROPERTY_ADDED_TO_UNOPEN_CONTENT_MODEL")],
        &[("#/properties/a", "PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL")],
    );
    let asks = |names: &Value| object(&a, &json!({"dependencies": {"a": names}}));
    let at = "#/dependencies/a";
    json_schema(&object(&a, &json!({})), &asks(&json!(["b"])), &[(at, "DEPENDENCY_ARRAY_ADDED")], &[]);
    json_schema(&asks(&json!(["b"])), &asks(&json!(["b", "c"])), &[(at, "DEPENDENCY_ARRAY_EXTENDED")], &[]);
}

#[test]
fn json_types_and_limits() {
    let of = |kind: &str, name: &str, limit: Value| match limit {
        Value::Null => json!({"type": kind}),
        limit => json!({"type": kind, name: limit}),
    };
    for (kind, name, loose, tight, changed, added) in [
        ("string", "maxLength", 9, 5, "MAX_LENGTH_DECREASED", "MAX_LENGTH_ADDED"),
        ("string", "minLength", 1, 5, "MIN_LENGTH_INCREASED", "MIN_LENGTH_ADDED"),
        ("number", "maximum", 9, 5, "MAXIMUM_DECREASED", "MAXIMUM_ADDED"),
        ("number", "minimum", 1, 5, "MINIMUM_INCREASED", "MINIMUM_ADDED"),
        ("integer", "exclusiveMaximum", 9, 5, "EXCLUSIVE_MAXIMUM_DECREASED", "EXCLUSIVE_MAXIMUM_ADDED"),
        ("integer", "exclusiveMinimum", 1, 5, "EXCLUSIVE_MINIMUM_INCREASED", "EXCLUSIVE_MINIMUM_ADDED"),
        ("number", "multipleOf", 2, 4, "MULTIPLE_OF_EXPANDED", "MULTIPLE_OF_ADDED"),
        ("object", "maxProperties", 9, 5, "MAX_PROPERTIES_DECREASED", "MAX_PROPERTIES_ADDED"),
        ("object", "minProperties", 1, 5, "MIN_PROPERTIES_INCREASED", "MIN_PROPERTIES_ADDED"),
        ("array", "maxItems", 9, 5, "MAX_ITEMS_DECREASED", "MAX_ITEMS_ADDED"),
        ("array", "minItems", 1, 5, "MIN_ITEMS_INCREASED", "MIN_ITEMS_ADDED"),
    ] {
        let at = format!("#/{name}");
        let (none, loose, tight) =
            (of(kind, name, Value::Null), of(kind, name, loose.into()), of(kind, name, tight.into()));
        json_schema(&loose, &tight, &[(&at, changed)], &[]);
        json_schema(&none, &tight, &[(&at, added)], &[]);
        json_schema(&tight, &tight, &[], &[]);
    }
    json_schema(
        &of("string", "pattern", json!("a")),
        &of("string", "pattern", json!("b")),
        &[("#/pattern", "PATTERN_CHANGED")],
        &[("#/pattern", "PATTERN_CHANGED")],
    );
    json_schema(
        &json!({"type": "string"}),
        &of("string", "pattern", json!("a")),
        &[("#/pattern", "PATTERN_ADDED")],
        &[],
    );
    json_schema(
        &json!({"type": "array"}),
        &of("array", "uniqueItems", json!(true)),
        &[("#/uniqueItems", "UNIQUE_ITEMS_ADDED")],
        &[],
    );
    json_schema(&json!({"type": "integer"}), &json!({"type": "number"}), &[], &[("#", "TYPE_NARROWED")]);
    json_schema(&json!({"type": "string"}), &json!({"type": ["string", "null"]}), &[], &[("#", "TYPE_NARROWED")]);
    json_schema(
        &json!({"type": "string"}),
        &json!({"type": "array"}),
        &[("#", "TYPE_CHANGED")],
        &[("#", "TYPE_CHANGED")],
    );
    json_schema(&json!({"type": "string"}), &json!(true), &[], &[("#", "TYPE_CHANGED")]);
    json_schema(&json!({"enum": [1, 2]}), &json!({"enum": [1]}), &[("#/enum", "ENUM_ARRAY_NARROWED")], &[]);
    json_schema(
        &json!({"enum": [1]}),
        &json!({"enum": [2]}),
        &[("#/enum", "ENUM_ARRAY_CHANGED")],
        &[("#/enum", "ENUM_ARRAY_CHANGED")],
    );
}

#[test]
fn json_items_and_combinations() {
    let (string, integer) = (json!({"type": "string"}), json!({"type": "integer"}));
    let tuple = |items: &Value, more: Value| json!({"type": "array", "items": items, "additionalItems": more});
    let (one, two) = (json!([string]), json!([string, integer]));
    let at = "#/items/1";
    json_schema(&tuple(&one, json!(true)), &tuple(&two, json!(true)), &[(at, "ITEM_ADDED_TO_OPEN_CONTENT_MODEL")], &[]);
    json_schema(
        &tuple(&one, json!(false)),
        &tuple(&two, json!(false)),
        &[],
        &[(at, "ITEM_REMOVED_FROM_CLOSED_CONTENT_MODEL")],
    );
    json_schema(&tuple(&one, json!(true)), &tuple(&one, json!(false)), &[("#/items", "ADDITIONAL_ITEMS_REMOVED")], &[]);
    let any = |parts: &Value| json!({"anyOf": parts});
    json_schema(&any(&json!([string])), &any(&json!([string, integer])), &[], &[("#", "SUM_TYPE_NARROWED")]);
    json_schema(&string, &any(&json!([integer, string])), &[], &[("#", "TYPE_CHANGED")]);
    let all = |parts: &Value| json!({"allOf": parts});
    json_schema(
        &all(&json!([string])),
        &all(&json!([string, {"type": "string", "maxLength": 3}])),
        &[("#", "PRODUCT_TYPE_EXTENDED")],
        &[],
    );
    json_schema(
        &any(&json!([string, integer])),
        &json!({"oneOf": [string, integer]}),
        &[("#", "COMBINED_TYPE_CHANGED")],
        &[],
    );
    let other = [("#", "COMBINED_TYPE_SUBSCHEMAS_CHANGED")];
    json_schema(&any(&json!([string, integer])), &any(&json!([string, {"type": "object"}])), &other, &other);
    json_schema(&json!({"not": {"type": "number"}}), &json!({"not": integer}), &[], &[("#/not", "NOT_TYPE_EXTENDED")]);
    // A schema may refer to itself, and to others.
    let tree = |kind: &str| json!({"type": "object", "properties": {"next": {"$ref": "#"}, "v": {"$ref": "#/definitions/v"}}, "definitions": {"v": {"type": kind}}});
    let changed = [("#/properties/v", "TYPE_CHANGED")];
    json_schema(&tree("string"), &tree("string"), &[], &[]);
    json_schema(&tree("string"), &tree("object"), &changed, &changed);
}

#[test]
fn all_parts_of_a_json_schema_hold_together() {
    let (a, b) = (json!({"a": {"type": "string"}, "b": true}), json!({"a": {"type": "integer"}, "b": true}));
    let changed = [("#/properties/a", "TYPE_CHANGED")];
    for beside in [
        json!({"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}),
        json!({"not": {"required": ["z"]}}),
        json!({"allOf": [{"$ref": "#/definitions/base"}], "definitions": {"base": {"type": "object"}}}),
    ] {
        json_schema(&object(&a, &beside), &object(&b, &beside), &changed, &changed);
        json_schema(&object(&a, &beside), &object(&a, &beside), &[], &[]);
    }
    let any = json!({"anyOf": [{"required": ["a"]}, {"required": ["b"]}]});
    let mut both = any.clone();
    both["required"] = json!(["a", "b"]);
    let added = [("#/required/a", "REQUIRED_ATTRIBUTE_ADDED"), ("#/required/b", "REQUIRED_ATTRIBUTE_ADDED")];
    json_schema(&object(&a, &any), &object(&a, &both), &added, &[]);
    let lists = |number: i64| json!({"allOf": [{"type": "integer"}], "oneOf": [{"const": number}, {"const": 9}]});
    let other = [("#", "COMBINED_TYPE_SUBSCHEMAS_CHANGED")];
    json_schema(&lists(1), &lists(2), &other, &other);
    json_schema(&lists(1), &lists(1), &[], &[]);
    // What comes beside narrows, what goes widens; and one that follows from what was there is nothing new.
    let not = json!({"not": {"required": ["z"]}});
    json_schema(&object(&a, &json!({})), &object(&a, &not), &[("#", "TYPE_CHANGED")], &[]);
    let implied = json!({"anyOf": [{"type": "object"}, {"type": "string"}]});
    json_schema(&object(&a, &json!({})), &object(&a, &implied), &[], &[]);
    let enumerated = |more: Value| {
        let mut schema = json!({"enum": [1, 2]});
        schema.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        schema
    };
    json_schema(&enumerated(json!({})), &enumerated(json!({"minimum": 2})), &[("#", "TYPE_CHANGED")], &[]);
    let kind = json!({"type": "integer"});
    json_schema(&enumerated(kind.clone()), &enumerated(kind), &[], &[]);
    json_schema(&json!({"const": 1}), &json!({"const": 1.0}), &[], &[]);
    json_schema(
        &json!({"oneOf": [{"type": "null"}, {"type": "string"}]}),
        &json!({"type": ["null", "string"]}),
        &[],
        &[("#", "TYPE_CHANGED")],
    );
}

#[test]
fn json_keywords_that_nobody_looks_at_are_told() {
    let a = json!({"a": {"type": "string"}});
    for (keyword, now) in [
        ("if", json!({"required": ["a"]})),
        ("propertyNames", json!({"maxLength": 3})),
        ("contains", json!({"const": 1})),
        ("unevaluatedProperties", json!(false)),
    ] {
        let with = object(&a, &json!({keyword: now}));
        let at = format!("#/{keyword}");
        json_schema(&object(&a, &json!({})), &with, &[(&at, "CANNOT_BE_TOLD")], &[]);
        json_schema(&with, &with, &[], &[]);
    }
    json_schema(&object(&a, &json!({})), &object(&a, &json!({"unevaluatedProperties": true})), &[], &[]);
    let patterns = |kind: &str| json!({"patternProperties": {"^x-": {"type": kind}}});
    let at = "#/patternProperties/^x-";
    let added = [(at, "PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL")];
    json_schema(&object(&a, &json!({})), &object(&a, &patterns("string")), &added, &[]);
    let changed = [(at, "TYPE_CHANGED")];
    json_schema(&object(&a, &patterns("string")), &object(&a, &patterns("integer")), &changed, &changed);
    let closed = |more: Value| {
        let mut more = more;
        more["additionalProperties"] = json!(false);
        object(&a, &more)
    };
    let gone = [(at, "PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL")];
    json_schema(&closed(json!({})), &closed(patterns("string")), &[], &gone);
}

#[test]
fn json_numbers_are_compared_by_their_digits() {
    let of = |name: &str, limit: Value| json!({"type": "number", name: limit});
    let decreased = [("#/maximum", "MAXIMUM_DECREASED")];
    let (large, less) = (json!(9_007_199_254_740_993_u64), json!(9_007_199_254_740_992_u64));
    json_schema(&of("maximum", large), &of("maximum", less), &decreased, &[]);
    let expanded = [("#/multipleOf", "MULTIPLE_OF_EXPANDED")];
    for (was, now) in [(0.3, 0.1), (0.07, 0.01), (1e3, 1e-3)] {
        json_schema(&of("multipleOf", json!(was)), &of("multipleOf", json!(now)), &[], &expanded);
    }
    let exclusive = json!({"type": "number", "maximum": 5, "exclusiveMaximum": true});
    json_schema(&of("maximum", json!(5)), &exclusive, &[("#/exclusiveMaximum", "EXCLUSIVE_MAXIMUM_ADDED")], &[]);
    json_schema(&exclusive, &exclusive, &[], &[]);
}

#[test]
fn json_references_are_followed_however_they_are_written() {
    let schema = |reference: &str, kind: &str| {
        let definition = json!({"$anchor": "addr", "type": kind});
        json!({"$id": "http://x/y.json", "properties": {"a": {"$ref": reference}}, "definitions": {"a b": definition}})
    };
    for reference in ["#addr", "#/definitions/a%20b", "http://x/y.json#/definitions/a%20b", "http://x/y.json#addr"] {
        json_schema(&schema(reference, "string"), &schema(reference, "string"), &[], &[]);
        let changed = [("#/properties/a", "TYPE_CHANGED")];
        json_schema(&schema(reference, "string"), &schema(reference, "object"), &changed, &changed);
    }
    let nowhere = [("#/properties/a", "TYPE_CHANGED")];
    json_schema(&schema("#other", "string"), &schema("#other", "string"), &nowhere, &nowhere);
}

#[test]
fn choices_within_choices_come_to_an_end() {
    let nested = |leaf: &str| {
        let mut definitions = json!({"d0": {"type": leaf}});
        for level in 1..40 {
            let inner = json!({"$ref": format!("#/definitions/d{}", level - 1)});
            let choice = json!([{"properties": {"a": inner}}, {"properties": {"b": inner}}]);
            definitions[format!("d{level}")] = json!({"oneOf": choice, "properties": {"c": inner}});
        }
        json!({"$ref": "#/definitions/d39", "definitions": definitions}).to_string()
    };
    let (old, new) = (text(SchemaKind::Json, nested("string")), text(SchemaKind::Json, nested("object")));
    assert_ne!(compatibility(&old, &new).unwrap().level, Level::Full);
}

#[test]
fn what_cannot_be_compared_is_no_verdict() {
    let (avro, json) = (text(SchemaKind::Avro, "\"string\""), text(SchemaKind::Json, "{}"));
    assert!(compatibility(&avro, &json).unwrap_err().contains("JSON Schema follows on Avro"));
    assert!(compatibility(&json, &text(SchemaKind::Json, "{")).is_err());
}
