//! The JSON schema: made of the types that read a file, so that it says what they take.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::borrow::Cow;
use std::path::Path;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema, schema_for};

use crate::file::{Command, File, NetEntry};
use crate::text::{Many, Text};

impl<T> JsonSchema for Text<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Text".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "integer", "boolean"] })
    }
}

impl<T: JsonSchema> JsonSchema for Many<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Many{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
    }
}

impl JsonSchema for NetEntry {
    fn schema_name() -> Cow<'static, str> {
        "Net".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A network to attach to: NETWORK[,ip=A][,ip6=A][,mac=M][,alias=N]..., host, none, \
                            container:NAME, or a table with the same fields",
            "anyOf": [
                { "type": "string" },
                {
                    "type": "object",
                    "required": ["network"],
                    "properties": {
                        "network": { "type": "string", "description": "The network" },
                        "ip": { "type": "string", "description": "The IPv4 address wanted" },
                        "ip6": { "type": "string", "description": "The IPv6 address wanted" },
                        "mac": { "type": "string", "description": "The MAC wanted; by default it follows the address" },
                        "alias": {
                            "description": "Further names on this network",
                            "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }]
                        },
                        "ifname": { "type": "string", "description": "The interface's name inside" },
                        "gw-priority": {
                            "type": "integer",
                            "description": "The endpoint with the highest priority has the default route"
                        },
                        "ingress-rate": { "type": "string", "description": "Limit of what comes to it, as 10mbit" },
                        "ingress-burst": { "type": "string", "description": "What may come at once, as 128kb" },
                        "egress-rate": { "type": "string", "description": "Limit of what it sends, as 10mbit" },
                        "egress-burst": { "type": "string", "description": "What it may send at once, as 128kb" }
                    },
                    "additionalProperties": { "type": ["string", "integer", "boolean"] }
                }
            ]
        })
    }
}

impl JsonSchema for Command {
    fn schema_name() -> Cow<'static, str> {
        "Command".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A line for the shell, or a list of words",
            "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" }, "minItems": 1 }]
        })
    }
}

/// `UPDATE_GOLDEN=1 cargo test -p linkspan-blueprint` writes it anew.
#[test]
fn the_shipped_schema_is_that_of_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/lab.schema.json");
    let mut schema = schema_for!(File);
    schema.insert("title".to_owned(), "Linkspan lab".into());
    let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let shipped = std::fs::read_to_string(&path).unwrap();
    assert_eq!(shipped, text, "schemas/lab.schema.json is out of step: UPDATE_GOLDEN=1 writes it");
}
