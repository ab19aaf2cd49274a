//! What `nft` keeps beside objects for itself: comments and types. A string of type, length, value
//! (libnftnl's include/libnftnl/udata.h).

const TABLE_COMMENT: u8 = 0;
const CHAIN_COMMENT: u8 = 0;
const RULE_COMMENT: u8 = 0;
const SET_KEYBYTEORDER: u8 = 0;
const SET_DATABYTEORDER: u8 = 1;
const SET_COMMENT: u8 = 7;
const SET_ELEM_FLAGS: u8 = 1;
/// An element that starts a range without an end (nft's SET_ELEM_F_INTERVAL_OPEN).
const INTERVAL_OPEN: u32 = 1;

pub(super) fn of_table(comment: &str) -> Vec<u8> {
    text(TABLE_COMMENT, comment)
}

pub(super) fn of_chain(comment: &str) -> Vec<u8> {
    text(CHAIN_COMMENT, comment)
}

pub(super) fn of_rule(comment: &str) -> Vec<u8> {
    text(RULE_COMMENT, comment)
}

pub(super) fn of_set(key_order: u32, data_order: Option<u32>, comment: &str) -> Vec<u8> {
    let mut bytes = number(SET_KEYBYTEORDER, key_order);
    bytes.extend(data_order.into_iter().flat_map(|order| number(SET_DATABYTEORDER, order)));
    bytes.extend(text(SET_COMMENT, comment));
    bytes
}

pub(super) fn of_open_range() -> Vec<u8> {
    number(SET_ELEM_FLAGS, INTERVAL_OPEN)
}

fn text(kind: u8, value: &str) -> Vec<u8> {
    let value = [value.as_bytes(), &[0]].concat();
    [&[kind, u8::try_from(value.len()).unwrap_or(u8::MAX)], value.as_slice()].concat()
}

fn number(kind: u8, value: u32) -> Vec<u8> {
    [&[kind, 4], value.to_ne_bytes().as_slice()].concat()
}
