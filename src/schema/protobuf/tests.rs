//! Protobuf held against another implementation, on a schema of real size.

use proptest::prelude::*;
use prost_reflect::prost::Message as _;
use prost_reflect::{DynamicMessage, MapKey, Value as Other};
use serde_json::{Value, json};

use super::*;

const ORDER: &str = include_str!("../../../tests/schemas/order.proto");
const ADDRESS: &str = include_str!("../../../tests/schemas/address.proto");

fn order() -> Protobuf {
    Protobuf::read(ORDER, [("shop/common/address.proto", ADDRESS)]).unwrap()
}

fn decoded(protobuf: &Protobuf, bytes: &[u8]) -> Value {
    serde_json::from_slice(&protobuf.decode(bytes).unwrap()).unwrap()
}

/// A message as bytes behind the short form of its index.
fn framed(message: &DynamicMessage) -> Vec<u8> {
    let mut bytes = vec![0];
    message.encode(&mut bytes).unwrap();
    bytes
}

fn empty(schema: &Protobuf, name: &str) -> DynamicMessage {
    DynamicMessage::new(schema.file.parent_pool().get_message_by_name(name).unwrap())
}

fn line(schema: &Protobuf, sku: &str, quantity: i32, price: f64) -> DynamicMessage {
    let mut line = empty(schema, "shop.orders.Line");
    line.set_field_by_name("sku", Other::String(sku.to_owned()));
    line.set_field_by_name("quantity", Other::I32(quantity));
    line.set_field_by_name("price", Other::F64(price));
    line
}

fn time(schema: &Protobuf, name: &str, seconds: i64, nanos: i32) -> Other {
    let mut time = empty(schema, name);
    time.set_field_by_name("seconds", Other::I64(seconds));
    time.set_field_by_name("nanos", Other::I32(nanos));
    Other::Message(time)
}

prop_compose! {
    fn orders()(
        id in ".{0,6}", seconds in -62_135_596_800_i64..253_402_300_800, nanos in 0_i32..1_000_000_000,
        status in 0_i32..4, email in ".{0,5}", customer in any::<i64>(),
        lines in prop::collection::vec(("[A-Z]{0,3}", any::<i32>(), -1e9..1e9), 0..4),
        labels in prop::collection::hash_map("[a-z]{0,3}", ".{0,3}", 0..4),
        payment in 0..4, discount in any::<Option<i32>>(), limit in any::<Option<i64>>(),
        deltas in prop::collection::vec(any::<i32>(), 0..4),
        more in (any::<u32>(), any::<i64>(), prop::collection::vec(any::<u8>(), 0..6), any::<f32>(), any::<u64>(), any::<bool>()),
        deep in 0..3,
    ) -> Vec<u8> {
        let schema = order();
        let mut order = empty(&schema, "shop.orders.OrderPlaced");
        order.set_field_by_name("order_id", Other::String(id));
        order.set_field_by_name("placed_at", time(&schema, "google.protobuf.Timestamp", seconds, nanos));
        order.set_field_by_name("status", Other::EnumNumber(status));
        let mut about = empty(&schema, "shop.orders.Customer");
        about.set_field_by_name("id", Other::I64(customer));
        about.set_field_by_name("email", Other::String(email));
        order.set_field_by_name("customer", Other::Message(about));
        let list = lines.iter().map(|(sku, quantity, price)| Other::Message(line(&schema, sku, *quantity, *price)));
        order.set_field_by_name("lines", Other::List(list.collect()));
        let map = labels.into_iter().map(|(key, value)| (MapKey::String(key), Other::String(value)));
        order.set_field_by_name("labels", Other::Map(map.collect()));
        let numbered = lines.iter().map(|(sku, n, price)| (MapKey::I64(i64::from(*n)), Other::Message(line(&schema, sku, *n, *price))));
        order.set_field_by_name("by_number", Other::Map(numbered.collect()));
        match payment {
            0 => order.set_field_by_name("voucher", Other::String("V".to_owned())),
            1 => order.set_field_by_name("account", Other::I64(0)),
            2 => order.set_field_by_name("card", Other::Message(empty(&schema, "shop.orders.OrderPlaced.Card"))),
            _ => {}
        }
        if let Some(discount) = discount {
            order.set_field_by_name("discount", Other::I32(discount));
        }
        if let Some(limit) = limit {
            let mut wrapper = empty(&schema, "google.protobuf.Int64Value");
            wrapper.set_field_by_name("value", Other::I64(limit));
            order.set_field_by_name("limit", Other::Message(wrapper));
        }
        order.set_field_by_name("deltas", Other::List(deltas.iter().map(|n| Other::I32(*n)).collect()));
        order.set_field_by_name("loose", Other::List(deltas.iter().map(|n| Other::I32(*n)).collect()));
        order.set_field_by_name("checksum", Other::U32(more.0));
        order.set_field_by_name("drift", Other::I64(more.1));
        order.set_field_by_name("swing", Other::I64(more.1));
        order.set_field_by_name("raw", Other::Bytes(more.2.into()));
        order.set_field_by_name("weight", Other::F32(more.3));
        order.set_field_by_name("serial", Other::U64(more.4));
        order.set_field_by_name("gift", Other::Bool(more.5));
        for _ in 0..deep {
            let mut outer = empty(&schema, "shop.orders.OrderPlaced");
            outer.set_field_by_name("previous", Other::Message(order));
            order = outer;
        }
        framed(&order)
    }
}

proptest! {
    #[test]
    fn what_another_implementation_writes_comes_back_byte_for_byte(bytes in orders()) {
        let order = order();
        let value = decoded(&order, &bytes);
        prop_assert_eq!(&order.encode(&bytes, &value).unwrap(), &bytes);
    }

    #[test]
    fn an_edit_changes_what_it_names_and_the_other_implementation_reads_it(bytes in orders(), unknown in any::<bool>()) {
        let schema = order();
        let mut bytes = bytes;
        if unknown {
            bytes.extend_from_slice(b"\xa2\x06\x03new");
        }
        let mut edited = decoded(&schema, &bytes);
        edited["orderId"] = json!("masked");
        edited["labels"]["zz"] = json!("new");
        edited["deltas"] = json!([1, -1]);
        edited["status"] = json!("STATUS_PAID");
        edited["placedAt"] = json!("2013-01-05T06:07:08.009Z");
        let again = schema.encode(&bytes, &edited).unwrap();
        prop_assert_eq!(&decoded(&schema, &again), &edited);
        let kind = schema.file.messages().next().unwrap();
        let read = DynamicMessage::decode(kind, &again[1..]).unwrap();
        let id = read.get_field_by_name("order_id").unwrap().into_owned();
        prop_assert_eq!(id, Other::String("masked".to_owned()));
        prop_assert_eq!(read.unknown_fields().count(), usize::from(unknown));
    }

    #[test]
    fn no_bytes_make_the_decoder_fail_in_any_other_way_than_by_saying_so(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let order = order();
        let bytes = [&[0][..], &bytes].concat();
        if let Ok(text) = order.decode(&bytes) {
            let value: Value = serde_json::from_slice(&text).unwrap();
            prop_assert_eq!(&order.encode(&bytes, &value).unwrap(), &bytes);
        }
    }

    #[test]
    fn a_message_that_was_damaged_is_refused_or_comes_back(bytes in orders(), at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let order = order();
        let mut bytes = bytes;
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok(text) = order.decode(&bytes) {
            let value: Value = serde_json::from_slice(&text).unwrap();
            prop_assert_eq!(&order.encode(&bytes, &value).unwrap(), &bytes);
        }
    }
}

#[test]
fn fields_are_named_and_written_as_the_json_mapping_says() {
    let schema = order();
    let mut order = empty(&schema, "shop.orders.OrderPlaced");
    order.set_field_by_name("placed_at", time(&schema, "google.protobuf.Timestamp", 1_357_365_600, 500_000_000));
    order.set_field_by_name("patience", time(&schema, "google.protobuf.Duration", -1, -500_000_000));
    order.set_field_by_name("status", Other::EnumNumber(2));
    order.set_field_by_name("serial", Other::U64(u64::MAX));
    order.set_field_by_name("raw", Other::Bytes(vec![0xFF].into()));
    order.set_field_by_name("weight", Other::F32(f32::INFINITY));
    let mut mask = empty(&schema, "google.protobuf.FieldMask");
    mask.set_field_by_name("paths", Other::List(vec![Other::String("customer.first_name".to_owned())]));
    order.set_field_by_name("mask", Other::Message(mask));
    let mut any = empty(&schema, "google.protobuf.Any");
    any.set_field_by_name("type_url", Other::String("type.googleapis.com/shop.orders.Line".to_owned()));
    any.set_field_by_name("value", Other::Bytes(line(&schema, "A", 2, 0.5).encode_to_vec().into()));
    order.set_field_by_name("attached", Other::Message(any));
    let mut held = empty(&schema, "google.protobuf.Value");
    held.set_field_by_name("number_value", Other::F64(1.5));
    let mut extra = empty(&schema, "google.protobuf.Struct");
    extra.set_field_by_name("fields", Other::Map([(MapKey::String("a".to_owned()), Other::Message(held))].into()));
    order.set_field_by_name("extra", Other::Message(extra));
    let bytes = framed(&order);
    let value = decoded(&schema, &bytes);
    for (name, wanted) in [
        ("orderId", json!("")),
        ("placedAt", json!("2013-01-05T06:00:00.500Z")),
        ("patience", json!("-1.500s")),
        ("status", json!("STATUS_PAID")),
        ("serial", json!("18446744073709551615")),
        ("raw", json!("/w==")),
        ("weight", json!("Infinity")),
        ("mask", json!("customer.firstName")),
        ("attached", json!({"@type": "type.googleapis.com/shop.orders.Line", "sku": "A", "quantity": 2, "price": 0.5})),
        ("extra", json!({"a": 1.5})),
        ("lines", json!([])),
        ("labels", json!({})),
        ("gift", json!(false)),
    ] {
        assert_eq!(value[name], wanted, "{name}");
    }
    // Fields with presence that are not there are not shown.
    assert!(value.get("discount").is_none() && value.get("customer").is_none() && value.get("voucher").is_none());
    assert_eq!(schema.encode(&bytes, &value).unwrap(), bytes);
    // And all of it is written as well as read.
    let mut fresh = vec![0];
    super::fresh::message(&schema.file.messages().next().unwrap(), &value, "$", 0, &mut fresh).unwrap();
    assert_eq!(decoded(&schema, &fresh), value);
}

#[test]
fn unknown_fields_show_stay_and_can_be_dropped() {
    let schema = order();
    let bytes = b"\x00\xa2\x06\x03new\x0a\x01x\xa8\x06\x07".to_vec();
    let value = decoded(&schema, &bytes);
    assert_eq!(value["@unknown"], json!({"100": ["ogYDbmV3"], "101": ["qAYH"]}));
    let mut edited = value.clone();
    edited["orderId"] = json!("yy");
    assert_eq!(schema.encode(&bytes, &edited).unwrap(), b"\x00\xa2\x06\x03new\x0a\x02yy\xa8\x06\x07");
    edited.as_object_mut().unwrap().remove("@unknown");
    assert_eq!(schema.encode(&bytes, &edited).unwrap(), b"\x00\x0a\x02yy");
    edited["@unknown"] = json!({"100": ["AAAA"]});
    assert!(schema.encode(&bytes, &edited).unwrap_err().to_string().starts_with("$['@unknown']['100']: "));
}

#[test]
fn of_a_oneof_the_last_member_counts_and_an_edit_wakes_no_other() {
    let schema = order();
    let bytes = b"\x00\x4a\x01V\x50\x05".to_vec();
    let mut value = decoded(&schema, &bytes);
    assert!(value.get("voucher").is_none());
    assert_eq!(value["account"], json!("5"));
    value.as_object_mut().unwrap().remove("account");
    assert_eq!(schema.encode(&bytes, &value).unwrap(), b"\x00");
}

#[test]
fn messages_are_found_by_their_indices() {
    let schema = order();
    // OrderPlaced.Card stands behind the entries of two maps: third as descriptors count, first as the text does.
    for bytes in [&b"\x04\x00\x04\x0a\x01h"[..], b"\x04\x00\x00\x0a\x01h"] {
        assert_eq!(decoded(&schema, bytes), json!({"holder": "h", "digits": ""}));
    }
    // Line is the second of the file.
    let line = decoded(&schema, b"\x02\x02\x10\x05");
    assert_eq!(line, json!({"sku": "", "quantity": 5, "price": 0.0}));
    assert!(schema.decode(b"\x02\x08").is_err());
}

#[test]
fn what_the_bytes_claim_is_not_believed() {
    let order = order();
    // `previous` within `previous`, and groups within groups.
    let mut deep = Vec::new();
    for _ in 0..200 {
        let mut outer = Vec::new();
        wire::put_bytes(25, &deep, &mut outer);
        deep = outer;
    }
    for (bytes, error) in [
        ([&[0][..], &deep].concat(), DecodeError::TooDeep),
        ([&[0][..], &[0x9B, 0x06].repeat(500)].concat(), DecodeError::TooDeep),
        (b"\x00\x0a\xff\xff\xff\xff\x0f".to_vec(), DecodeError::Cut),
        (b"\x00\x0a\x01\xff".to_vec(), DecodeError::Malformed { what: "a string is no UTF-8" }),
        (b"\x00\x06".to_vec(), DecodeError::Malformed { what: "a field has no such number" }),
        (b"\x00\x0f".to_vec(), DecodeError::Malformed { what: "a field has no such wire type" }),
        (b"\x00\x9b\x06\xa4\x06".to_vec(), DecodeError::Malformed { what: "a group ends as another" }),
        (b"".to_vec(), DecodeError::Malformed { what: "the schema has no such message" }),
    ] {
        assert_eq!(order.decode(&bytes).map(|_| ()), Err(error), "{:?}", &bytes[..bytes.len().min(20)]);
    }
}

#[test]
fn a_schema_that_is_none_says_why_on_one_line() {
    for (text, reason) in [("syntax = \"proto3\"; message {", "expected"), (ORDER, "shop/common/address.proto")] {
        let said = Protobuf::read(text, []).unwrap_err();
        assert!(said.contains(reason) && !said.contains('\n'), "{said}");
    }
}
