//! Checks every response against the OpenAPI document.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Document, SentRequest, openapi, pointer, without_payloads};
use crate::harness::Reply;

/// Transport headers, which the document need not list.
const TRANSPORT: [&str; 5] = [
    "Date",
    "Content-Type",
    "Content-Length",
    "Connection",
    "Transfer-Encoding",
];

/// The headers of CORS, which the document describes once, in its components. A response has all of them or none.
const CORS: [(&str, &str); 3] = [
    ("Access-Control-Allow-Origin", "AllowedOrigin"),
    ("Access-Control-Expose-Headers", "ExposedHeaders"),
    ("Vary", "VaryByOrigin"),
];

/// Possible statuses of a well-formed request that is no documented operation.
const WITHOUT_OPERATION: [u16; 5] = [401, 403, 404, 405, 429];

/// Asserts that the document has this response to this request; `None` stands for a malformed one.
pub(crate) fn check_reply(request: Option<&SentRequest>, reply: &Reply) {
    check_security_headers(reply);
    let document = openapi();
    let responses = responses(document, request, reply.status);
    let to_head = request.is_some_and(|request| request.method == "HEAD");
    let errors: Vec<_> = responses
        .iter()
        .map(|response| errors(document, response, reply, to_head))
        .collect();
    assert!(
        errors.iter().any(Vec::is_empty),
        "not in the contract, as an answer to {request:?}: {reply}\n{responses:?}\n{errors:#?}"
    );
    if let Some(request) = request
        && reply.status < 300
    {
        check_accepted(document, request);
    }
}

/// Every response except 101 forbids content sniffing and has a `Cache-Control`.
fn check_security_headers(reply: &Reply) {
    if reply.status == 101 {
        return;
    }
    let sniffing = reply.header("X-Content-Type-Options");
    assert_eq!(sniffing, Some("nosniff"), "{reply}");
    let kept = reply.header("Cache-Control");
    assert!(matches!(kept, Some("no-store" | "no-cache")), "{reply}");
}

/// The pointers of the documented responses that may match.
fn responses(document: &Document, request: Option<&SentRequest>, status: u16) -> Vec<String> {
    if let Some(operation) = request.and_then(|request| operation(document, request)) {
        let documented = document.at(&operation)["responses"].get(status.to_string());
        let there = pointer(&["responses", &status.to_string()]);
        return documented
            .map(|_| document.resolve(operation + &there))
            .into_iter()
            .collect();
    }
    let may_be = of_any_request(document).contains(&status.to_string())
        || request.is_some() && WITHOUT_OPERATION.contains(&status);
    let all = document.keys("/components/responses").into_iter();
    let options = request.is_some_and(|request| request.method == "OPTIONS");
    if options && status == 204 {
        return ["Options", "Preflight"]
            .map(|name| pointer(&["components", "responses", name]))
            .into();
    }
    all.filter(|name| !["Options", "Preflight"].contains(name))
        .map(|name| pointer(&["components", "responses", name]))
        .filter(|response| may_be && status_of(document, response) == status)
        .collect()
}

/// The operation of a request; HEAD is GET without the body.
fn operation(document: &Document, request: &SentRequest) -> Option<String> {
    let path = path(document, &request.path)?;
    let method = match request.method.as_str() {
        "HEAD" if path != "/ws" => "get".to_owned(),
        method if method == method.to_uppercase() => method.to_lowercase(),
        _ => return None,
    };
    let known = matches!(method.as_str(), "get" | "post" | "patch" | "delete");
    let operation = pointer(&["paths", path, &method]);
    (known && document.root.pointer(&operation).is_some()).then_some(operation)
}

fn path<'d>(document: &'d Document, requested: &str) -> Option<&'d str> {
    let segments: Vec<_> = requested.split('/').map(decoded).collect::<Option<_>>()?;
    let fits = |template: &&str| {
        let template: Vec<_> = template.split('/').collect();
        let alike = |(part, segment): (&&str, &String)| {
            part == segment || part.starts_with('{') && !segment.is_empty()
        };
        template.len() == segments.len() && template.iter().zip(&segments).all(alike)
    };
    document.keys("/paths").into_iter().find(fits)
}

fn decoded(segment: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = segment.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        if byte == b'%' {
            let digits = std::str::from_utf8(behind.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &behind[2..];
        } else {
            bytes.push(byte);
            rest = behind;
        }
    }
    String::from_utf8(bytes).ok()
}

/// The statuses that every operation may have, independent of the request.
fn of_any_request(document: &Document) -> BTreeSet<String> {
    let mut statuses: Option<BTreeSet<String>> = None;
    for path in document.keys("/paths") {
        for method in document.keys(&pointer(&["paths", path])) {
            if method == "parameters" {
                continue;
            }
            let responses = pointer(&["paths", path, method, "responses"]);
            let here = document.keys(&responses).into_iter().map(str::to_owned);
            statuses = Some(match statuses {
                None => here.collect(),
                Some(sofar) => here.filter(|status| sofar.contains(status)).collect(),
            });
        }
    }
    statuses.expect("a document with operations")
}

fn status_of(document: &Document, response: &str) -> u16 {
    let status = pointer(&[
        "content",
        PROBLEM,
        "schema",
        "properties",
        "status",
        "const",
    ]);
    let status = document.at(&(response.to_owned() + &status)).as_u64();
    status
        .and_then(|status| u16::try_from(status).ok())
        .expect("a status")
}

const PROBLEM: &str = "application/problem+json";

fn errors(document: &Document, response: &str, reply: &Reply, to_head: bool) -> Vec<String> {
    let mut errors = header_errors(document, response, reply);
    let documented = &document.at(response)["content"];
    let label = reply.header("Content-Type");
    match label.filter(|label| documented.get(label).is_some()) {
        None if documented.is_null() && reply.body.is_empty() => {}
        None => errors.push(format!("Content-Type {label:?}")),
        Some(_) if to_head => {}
        Some(label) => {
            let schema = response.to_owned() + &pointer(&["content", label, "schema"]);
            let body = String::from_utf8_lossy(&reply.body);
            let value = if label.contains("json") {
                without_payloads(&body)
            } else {
                Some(json!(body))
            };
            match value {
                Some(value) => errors.extend(document.errors(&schema, &value)),
                None => errors.push("the body is not JSON".to_owned()),
            }
        }
    }
    errors
}

fn header_errors(document: &Document, response: &str, reply: &Reply) -> Vec<String> {
    let none = serde_json::Map::new();
    let documented = document.at(response)["headers"]
        .as_object()
        .unwrap_or(&none);
    let mut errors = Vec::new();
    let own = documented.keys().map(|name| {
        (
            name.as_str(),
            response.to_owned() + &pointer(&["headers", name]),
        )
    });
    let has_cors = reply.header(CORS[0].0).is_some();
    let cors = CORS
        .iter()
        .filter(|(name, _)| has_cors && documented.get(*name).is_none())
        .map(|(name, component)| (*name, pointer(&["components", "headers", component])));
    let all: Vec<_> = own.chain(cors).collect();
    for (name, header) in &all {
        let header = document.resolve(header.clone());
        let schema = header.clone() + "/schema";
        match reply.header(name) {
            None if document.at(&header)["required"] == true => errors.push(format!("no {name}")),
            None => {}
            Some(text) => {
                let number = text
                    .parse()
                    .ok()
                    .filter(|_| document.at(&schema)["type"] == "integer");
                let value = number.map_or_else(|| json!(text), |number: u64| json!(number));
                let schema_errors = document.errors(&schema, &value).into_iter();
                errors.extend(schema_errors.map(|error| format!("{name}: {error}")));
            }
        }
    }
    let known = |name: &&str| {
        let mut all = all.iter().map(|(name, _)| *name).chain(TRANSPORT);
        all.any(|known| known.eq_ignore_ascii_case(name))
    };
    let unknown = reply.header_names().filter(|name| !known(name));
    errors.extend(unknown.map(|name| format!("header {name}")));
    errors
}

/// Asserts that the schema accepts a body that the server accepted.
fn check_accepted(document: &Document, request: &SentRequest) {
    let schema = pointer(&["requestBody", "content", "application/json", "schema"]);
    let Some(operation) = operation(document, request) else {
        return;
    };
    let schema = operation + &schema;
    if document.root.pointer(&schema).is_none() || request.body.is_empty() {
        return;
    }
    let body: Value = without_payloads(&request.body).expect("an accepted body is JSON");
    let errors = document.errors(&schema, &body);
    assert!(
        errors.is_empty(),
        "accepted against the contract: {body} {errors:#?}"
    );
}
