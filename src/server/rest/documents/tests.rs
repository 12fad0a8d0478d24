//! Compares the documents with the code: each names exactly what exists.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use jsonschema::{Draft, Validator};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::fixture::head;
use super::super::{Right, Route};
use super::{ASYNCAPI, OPENAPI};
use crate::config::{OverflowPolicy, ranges};
use crate::protocol::{ClientId, ErrorCode, GapReason, RequestId, check_topic_name};

/// Every variant of an enum; one that is left out does not compile.
macro_rules! every {
    ($type:ident: $($variant:ident),+) => {{
        let every = [$($type::$variant),+];
        every.iter().for_each(|one| match one { $($type::$variant => {})+ });
        every
    }};
}

/// The name of each route's operation; a route that is left out does not compile.
macro_rules! operations {
    ($($route:pat => $name:literal),+ $(,)?) => {
        const OPERATIONS: &[&str] = &[$($name),+];

        fn operation_of(route: &Route) -> &'static str {
            match route {
                $($route => $name,)+
                Route::WebSocket | Route::Options(_) | Route::Preflight(_) | Route::Refused(_) => {
                    "none"
                }
            }
        }
    };
}

operations! {
    Route::ListTopics(_) => "listTopics",
    Route::CreateTopic => "createTopic",
    Route::ShowTopic(_) => "showTopic",
    Route::ChangeTopic(_) => "changeTopic",
    Route::DeleteTopic(_) => "deleteTopic",
    Route::ReadMessages(..) => "readMessages",
    Route::PublishMessage(_) => "publishMessage",
    Route::StreamEvents(_) => "streamEvents",
    Route::ListSubscribers(..) => "listSubscribers",
    Route::Health => "health",
    Route::Stats => "stats",
    Route::ListNodes => "listNodes",
    Route::ListConnections(_) => "listConnections",
    Route::CloseConnection(_) => "closeConnection",
    Route::ShowSettings => "config",
    Route::Dashboard => "dashboard",
    Route::Metrics(_) => "metrics",
    Route::Livez => "livez",
    Route::Readyz => "readyz",
    Route::OpenApi => "openapi",
    Route::AsyncApi => "asyncapi",
}

fn route(method: &str, path: &str) -> Route {
    Route::of(&head(method, path))
}

/// The one path that is not REST's.
const WEBSOCKET: &str = "/ws";

fn document(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Path, method and operation of each row, but for the WebSocket's.
fn rows(openapi: &Value) -> Vec<(String, String, &Value)> {
    let mut rows = Vec::new();
    for (path, methods) in openapi["paths"].as_object().unwrap() {
        let operations = methods.as_object().unwrap().iter();
        for (method, operation) in operations.filter(|(name, _)| *name != "parameters") {
            if path != WEBSOCKET {
                rows.push((path.clone(), method.to_uppercase(), operation));
            }
        }
    }
    rows
}

/// A path that a template stands for.
fn concrete(template: &str) -> String {
    template.replace("{name}", "orders").replace("{id}", "17")
}

fn texts(values: &Value) -> BTreeSet<&str> {
    let values = values.as_array().unwrap().iter();
    values.map(|value| value.as_str().unwrap()).collect()
}

#[test]
fn the_paths_are_the_routes() {
    let openapi = document(OPENAPI);
    let mut documented = BTreeSet::new();
    for (path, method, operation) in rows(&openapi) {
        let route = route(&method, &concrete(&path));
        assert_eq!(
            operation["operationId"],
            operation_of(&route),
            "{method} {path}"
        );
        documented.insert(operation_of(&route));
    }
    assert_eq!(documented, OPERATIONS.iter().copied().collect());
}

#[test]
fn a_path_allows_the_methods_that_it_lists() {
    let openapi = document(OPENAPI);
    for (path, ..) in rows(&openapi) {
        let listed = rows(&openapi).into_iter().filter(|row| row.0 == path);
        let mut listed: BTreeSet<_> = listed.map(|row| row.1).collect();
        if listed.contains("GET") {
            listed.insert("HEAD".to_owned());
        }
        listed.insert("OPTIONS".to_owned());
        let Route::Refused(refused) = route("PUT", &concrete(&path)) else {
            panic!("{path} takes PUT")
        };
        let [("Allow", allow)] = &refused.problem.headers[..] else {
            panic!("no Allow for {path}")
        };
        let allowed: BTreeSet<_> = allow.split(", ").map(str::to_owned).collect();
        assert_eq!(allowed, listed, "{path}");
    }
}

#[test]
fn the_right_of_a_route_decides_the_statuses_of_its_row() {
    let openapi = document(OPENAPI);
    for (path, method, operation) in rows(&openapi) {
        let right = route(&method, &concrete(&path)).right();
        let open = operation["security"] == json!([]);
        assert_eq!(open, right == Right::Public, "{method} {path}");
        let may_get = |status: &str| operation["responses"].get(status).is_some();
        assert_eq!(may_get("401"), right != Right::Public, "{method} {path}");
        let by_right = !matches!(right, Right::Public | Right::AnyKey);
        assert_eq!(
            may_get("403"),
            by_right || method != "GET",
            "{method} {path}"
        );
    }
}

#[test]
fn the_codes_of_the_websocket_are_those_of_the_protocol() {
    let asyncapi = document(ASYNCAPI);
    let codes = every!(ErrorCode: BadRequest, TopicNotFound, SlowConsumer, Unauthorized, Forbidden, RateLimited,
                       LimitReached, ShuttingDown, Unavailable, Internal);
    let documented = &asyncapi["components"]["schemas"]["ErrorCode"]["enum"];
    assert_eq!(texts(documented), codes.map(ErrorCode::as_str).into());
}

#[test]
fn the_reasons_of_gaps_are_those_of_the_protocol() {
    let reasons = every!(GapReason: SlowConsumer, HistoryEvicted, EpochChanged);
    for reason in reasons {
        let quoted = format!(r#""reason": {{ "const": "{}" }}"#, reason.as_str());
        assert!(ASYNCAPI.contains(&quoted), "{quoted}");
        let on_rest = reason != GapReason::SlowConsumer;
        assert_eq!(OPENAPI.contains(&quoted), on_rest, "{quoted}");
    }
    let named = ASYNCAPI.matches(r#""reason": { "const": "#).count();
    assert_eq!(named, reasons.len());
}

#[test]
fn the_options_of_a_topic_have_the_bounds_of_their_settings() {
    let openapi = document(OPENAPI);
    let schemas = &openapi["components"]["schemas"];
    for schema in ["NewTopic", "TopicChange"] {
        let fields = &schemas[schema]["properties"];
        let bounds = |field: &str| {
            let bound = |name: &str| fields[field][name].as_u64().unwrap() as usize;
            bound("minimum")..=bound("maximum")
        };
        let seconds = |range: RangeInclusive<Duration>| {
            range.start().as_secs() as usize..=range.end().as_secs() as usize
        };
        assert_eq!(bounds("history_size"), ranges::HISTORY_SIZE);
        assert_eq!(bounds("max_queue_size"), ranges::MAX_QUEUE_SIZE);
        assert_eq!(bounds("history_ttl_secs"), seconds(ranges::HISTORY_TTL));
        assert_eq!(bounds("idle_secs"), seconds(ranges::TOPIC_IDLE));
    }
    let policies = OverflowPolicy::ALL.map(OverflowPolicy::as_str);
    assert_eq!(texts(&schemas["OverflowPolicy"]["enum"]), policies.into());
}

#[test]
fn both_documents_have_the_version_of_the_program() {
    for text in [OPENAPI, ASYNCAPI] {
        assert_eq!(document(text)["info"]["version"], env!("CARGO_PKG_VERSION"));
    }
}

#[test]
fn a_schema_that_both_documents_have_is_the_same() {
    let [openapi, asyncapi] = [OPENAPI, ASYNCAPI].map(document);
    let [rest, websocket] = [&openapi, &asyncapi].map(|it| it["components"]["schemas"].as_object());
    // Over REST an id may be left out.
    let shared = websocket
        .unwrap()
        .iter()
        .filter(|(name, _)| *name != "NewMessage");
    let alike = shared.filter(|(name, _)| rest.unwrap().contains_key(*name));
    let mut count = 0;
    for (name, schema) in alike {
        assert_eq!(rest.unwrap()[name], *schema, "{name}");
        count += 1;
    }
    assert!(count >= 10, "only {count} schemas are shared");
}

/// The schema of that name, without references to others.
fn schema(name: &str) -> Validator {
    let asyncapi = document(ASYNCAPI);
    let schema = &asyncapi["components"]["schemas"][name];
    let options = jsonschema::options().with_draft(Draft::Draft7);
    options.build(schema).unwrap()
}

fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[A-Za-z0-9._:-]{0,4}",
        "[a-z._:-]{126,130}",
        "\\PC{0,3}",
        "\\PC{127,129}",
        "[a-z]{1,3}\n",
    ]
}

const HYPHENATED: &str = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}";

fn any_id() -> impl Strategy<Value = String> {
    let before = "(|\\{|[uU]rn:uUiD:|URN:UUID:|uuid:)";
    let decorated = (before, HYPHENATED, "(|\\})");
    prop_oneof![
        HYPHENATED,
        "[0-9a-fA-F]{31,33}",
        "\\{[0-9a-f]{32}\\}",
        "[0-9a-f-]{36}",
        decorated.prop_map(|(before, id, behind)| format!("{before}{id}{behind}")),
    ]
}

proptest! {
    #[test]
    fn names_follow_one_rule_in_code_and_documents(name in any_name()) {
        let takes = |kind| schema(kind).is_valid(&json!(name));
        prop_assert_eq!(takes("TopicName"), check_topic_name(&name).is_ok());
        prop_assert_eq!(takes("ClientId"), ClientId::new(&name).is_ok());
        prop_assert_eq!(takes("RequestId"), RequestId::new(name.as_str().into()).is_ok());
    }

    #[test]
    fn ids_follow_one_rule_in_code_and_documents(id in any_id()) {
        let taken = uuid::Uuid::try_parse(&id).is_ok();
        prop_assert_eq!(schema("Uuid").is_valid(&json!(id)), taken);
    }
}
