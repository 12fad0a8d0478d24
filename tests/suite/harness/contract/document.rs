//! The documents: looking up values, and validating against their schemas, each compiled once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use jsonschema::{Draft, Validator};
use serde_json::{Value, json};

/// The expected body of `GET /openapi.json`.
pub(crate) fn openapi() -> &'static Document {
    static OPENAPI: OnceLock<Document> = OnceLock::new();
    OPENAPI.get_or_init(|| {
        let text = include_str!("../../../../src/server/rest/documents/openapi.json");
        Document::new(text, Draft::Draft202012)
    })
}

/// The expected body of `GET /asyncapi.json`.
pub(crate) fn asyncapi() -> &'static Document {
    static ASYNCAPI: OnceLock<Document> = OnceLock::new();
    ASYNCAPI.get_or_init(|| {
        let text = include_str!("../../../../src/server/rest/documents/asyncapi.json");
        Document::new(text, Draft::Draft7)
    })
}

/// A JSON pointer made of these keys.
pub(crate) fn pointer(keys: &[&str]) -> String {
    let escaped = |key: &&str| format!("/{}", key.replace('~', "~0").replace('/', "~1"));
    keys.iter().map(escaped).collect()
}

/// A document that contains schemas.
pub(crate) struct Document {
    pub(crate) text: &'static str,
    pub(crate) root: Value,
    draft: Draft,
    validators: Mutex<HashMap<String, Arc<Validator>>>,
}

impl Document {
    fn new(text: &'static str, draft: Draft) -> Document {
        Document {
            text,
            root: serde_json::from_str(text).expect("a document is JSON"),
            draft,
            validators: Mutex::default(),
        }
    }

    /// The value at `pointer`, which must exist.
    pub(crate) fn at(&self, pointer: &str) -> &Value {
        let found = self.root.pointer(pointer);
        found.unwrap_or_else(|| panic!("nothing at {pointer}"))
    }

    /// Follows references to the pointer of the value itself.
    pub(crate) fn resolve(&self, mut pointer: String) -> String {
        while let Some(target) = self.at(&pointer)["$ref"].as_str() {
            pointer = target.strip_prefix('#').expect("a local reference").into();
        }
        pointer
    }

    /// The keys of the object at `pointer`.
    pub(crate) fn keys(&self, pointer: &str) -> Vec<&str> {
        let object = self.at(pointer).as_object().expect("an object");
        object.keys().map(String::as_str).collect()
    }

    /// The validation errors of `value` under the schema at `schema`.
    pub(crate) fn errors(&self, schema: &str, value: &Value) -> Vec<String> {
        let validator = self.validator(schema);
        let errors = validator
            .iter_errors(value)
            .map(|error| format!("at '{}': {error}", error.instance_path()));
        errors.collect()
    }

    /// The compiled schema at `schema`.
    pub(crate) fn validator(&self, schema: &str) -> Arc<Validator> {
        let schema = self.resolve(schema.to_owned());
        let mut validators = self
            .validators
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let compiled = validators
            .entry(schema)
            .or_insert_with_key(|schema| Arc::new(self.compile(schema)));
        Arc::clone(compiled)
    }

    /// Compiles the whole document with `$ref` to this schema, so that its references resolve.
    fn compile(&self, schema: &str) -> Validator {
        let mut root = self.root.clone();
        root["$ref"] = json!(format!("#{}", fragment(schema)));
        let options = jsonschema::options().with_draft(self.draft);
        let compiled = options.build(&root);
        compiled.unwrap_or_else(|error| panic!("no schema at {schema}: {error}"))
    }
}

/// A pointer as a URI fragment.
fn fragment(pointer: &str) -> String {
    let encoded = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'~' | b'.' | b'-' | b'_' => {
            char::from(byte).to_string()
        }
        other => format!("%{other:02X}"),
    };
    pointer.bytes().map(encoded).collect()
}
