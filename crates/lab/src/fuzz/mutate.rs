//! What is done to a call that is right.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Case, seeds};
use crate::random::Random;

const VERBS: [&str; 6] = ["ADD", "ADD", "DEL", "CHECK", "GC", "STATUS"];
const TEXTS: [&str; 42] = [
    "",
    " ",
    "0",
    "1",
    "-1",
    "true",
    "true ",
    "null",
    "a",
    "eth0",
    "lo",
    "card0",
    "cni1",
    "br/x",
    "..",
    ".",
    "/",
    "../../x",
    "name with blank",
    "a-name-that-is-too-long-for-a-device",
    "\u{0}",
    "\u{1f980}",
    "%s%n",
    "$(id)",
    "'; --",
    "-j ACCEPT",
    "0.0.0.0",
    "0.0.0.0/0",
    "::",
    "::/0",
    "255.255.255.255/32",
    "10.22.0.300",
    "10.22.0.1/33",
    "10.22.0.0/24",
    "10.22.0.7/24",
    "fd00:22::7/64",
    "127.0.0.1",
    "ff02::1",
    "00:00:00:00:00:00",
    "ff:ff:ff:ff:ff:ff",
    "02:11:22:33:44",
    "1.0.0",
];
const PATHS: [&str; 9] = [
    "",
    "relative",
    "/",
    "/run/netns/bare",
    "/run/netns/chained",
    "/run/netns/none",
    "/run/fuzz/file",
    "/dev/null",
    "/proc/self/ns/net",
];
const KEYS: [&str; 14] = [
    "name",
    "type",
    "cniVersion",
    "prevResult",
    "runtimeConfig",
    "args",
    "ipam",
    "dns",
    "mtu",
    "mac",
    "ranges",
    "routes",
    "capabilities",
    "x",
];

/// A call with some mutations, mostly of its configuration.
pub fn case(random: &mut Random, names: &[&str], plugins: &Path) -> Case {
    let verb = random.of(&VERBS);
    let plugin = random.of(names);
    let mut case = seeds::case(plugin, verb, plugins);
    if let Ok(mut config) = serde_json::from_slice::<Value>(&case.stdin)
        && !random.once_in(8)
    {
        for _ in 0..=random.below(4) {
            structure(random, &mut config);
        }
        case.stdin = config.to_string().into_bytes();
    }
    if random.once_in(4) {
        bytes(random, &mut case.stdin);
    }
    if random.once_in(3) {
        environment(random, &mut case.environment);
    }
    case
}

/// Changes one place of a configuration: the deeper it is, the likelier.
fn structure(random: &mut Random, value: &mut Value) {
    match value {
        Value::Object(map) if !map.is_empty() && !random.once_in(12) => {
            let key = map.keys().nth(random.place(map.len())).cloned().unwrap_or_default();
            match random.below(16) {
                0 => drop(map.remove(&key)),
                1 => rename(random, map, &key),
                2 => drop(map.insert(random.of(&KEYS).to_owned(), any(random, 0))),
                _ => structure(random, &mut map[&key]),
            }
        }
        Value::Array(list) if !list.is_empty() && !random.once_in(8) => {
            let place = random.place(list.len());
            match random.below(8) {
                0 => drop(list.remove(place)),
                1 => list.push(list[place].clone()),
                _ => structure(random, &mut list[place]),
            }
        }
        other => *other = if random.once_in(4) { near(random, other) } else { any(random, 0) },
    }
}

fn rename(random: &mut Random, map: &mut Map<String, Value>, key: &str) {
    if let Some(value) = map.remove(key) {
        let name = match random.below(3) {
            0 => key.to_uppercase(),
            1 => key.to_lowercase(),
            _ => random.of(&KEYS).to_owned(),
        };
        map.insert(name, value);
    }
}

/// A value that is nearly the same.
fn near(random: &mut Random, value: &Value) -> Value {
    match value {
        Value::Bool(is) => json!(!is),
        Value::Number(number) => match random.below(4) {
            0 => json!(number.to_string()),
            1 => json!(-number.as_f64().unwrap_or(1.0)),
            2 => json!(number.as_f64().unwrap_or(1.0) + 0.5),
            _ => json!(number.as_u64().unwrap_or(1).wrapping_mul(65_537)),
        },
        Value::String(text) => {
            let mut bytes = text.clone().into_bytes();
            self::bytes(random, &mut bytes);
            json!(String::from_utf8_lossy(&bytes))
        }
        other => json!([other]),
    }
}

/// Any value.
fn any(random: &mut Random, depth: u32) -> Value {
    match random.below(if depth < 3 { 12 } else { 9 }) {
        0 => Value::Null,
        1 => json!(random.once_in(2)),
        2 => json!(random.below(70_000)),
        3 => json!(random.number()),
        4 => json!(-1),
        5 => json!(1e300),
        6 => json!("x".repeat(random.place(5_000))),
        7 | 8 => json!(random.of(&TEXTS)),
        9 => json!({ random.of(&KEYS): any(random, depth + 1) }),
        10 => json!([any(random, depth + 1), any(random, depth + 1)]),
        _ => json!(random.of(&PATHS)),
    }
}

/// Changes bytes without an eye for what they mean.
fn bytes(random: &mut Random, bytes: &mut Vec<u8>) {
    let place = random.place(bytes.len() + 1);
    match random.below(8) {
        0 => bytes.truncate(place),
        1 => bytes.insert(place, random.number() as u8),
        2 => bytes.clear(),
        3 => {
            let part = bytes[place..].to_vec();
            bytes.extend(part);
        }
        4 => drop(bytes.splice(
            place..place,
            vec![*random.of(&[&b'[', &b'{', &b' ', &b'"']); 1 + random.place(100_000)],
        )),
        5 => {
            drop(bytes.splice(
                place..place,
                (0..random.below(64)).map(|_| random.number() as u8).collect::<Vec<_>>(),
            ))
        }
        6 => {
            let text =
                random.of(&["\u{feff}", "\\u0000", "1e999", "\\ud800", "\"name\":\"x\",", "//", "\r\n"]);
            drop(bytes.splice(place..place, text.bytes().collect::<Vec<_>>()));
        }
        _ => {
            if let Some(byte) = bytes.get_mut(place) {
                *byte ^= 1 << random.below(8);
            }
        }
    }
}

/// Changes one variable.
fn environment(random: &mut Random, environment: &mut Vec<(OsString, OsString)>) {
    let place = random.place(environment.len());
    let (key, value) = &mut environment[place];
    *value = match random.below(5) {
        0 => {
            environment.remove(place);
            return;
        }
        1 => OsString::from_vec((0..random.below(32)).map(|_| 1 + random.below(255) as u8).collect()),
        2 => random.of(&PATHS).into(),
        3 if key == "CNI_ARGS" => random
            .of(&["IP=10.22.0.9", "IP=x;MAC=y", "=", ";;", "MAC=02:11:22:33:44:56", "a=b=c", "GATEWAY=::1"])
            .into(),
        3 if key == "CNI_COMMAND" => random.of(&["add", "ADD ", "VERSION", "UPDATE", "CHECK"]).into(),
        _ => random.of(&TEXTS[..30]).replace('\0', "0").into(),
    };
}
