//! The page: formats, initial series, and series of single topics.

use std::collections::BTreeSet;

use crate::harness::{Page, TestServer};

#[test]
fn every_series_exists_from_the_start() {
    let page = TestServer::start().metrics();
    for (name, label, values) in [
        (
            "pubsub_connections_rejected_total",
            "reason",
            "address full no_descriptor no_thread user",
        ),
        (
            "pubsub_disconnects_total",
            "reason",
            "administrator heartbeat internal invalid_utf8 peer_closed peer_gone policy protocol shutdown slow_consumer \
             subscription_replaced token_expired too_big topic_deleted unauthorized write_timeout",
        ),
        (
            "pubsub_messages_dropped_total",
            "policy",
            "block disconnect drop_oldest",
        ),
        (
            "pubsub_gaps_total",
            "reason",
            "epoch_changed history_evicted slow_consumer",
        ),
        (
            "pubsub_resumes_total",
            "result",
            "epoch_changed history_evicted recovered refused",
        ),
        ("pubsub_sends_total", "path", "fast slow"),
        (
            "pubsub_auth_failures_total",
            "door",
            "connection handshake rest",
        ),
        (
            "pubsub_tokens_refused_total",
            "reason",
            "algorithm audience claims expired issuer malformed no_keys not_yet_valid signature unknown_key",
        ),
        ("pubsub_jwks_refreshes_total", "result", "failed ok"),
    ] {
        let samples = page.samples().filter(|sample| sample.name == name);
        let found: BTreeSet<_> = samples
            .map(|sample| {
                assert_eq!(sample.value, 0.0, "{}", sample.series());
                sample.labels[label].as_str()
            })
            .collect();
        let found: Vec<_> = found.into_iter().collect();
        assert_eq!(found.join(" "), values, "{name}");
    }
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        page.count(&format!("pubsub_build_info{{version=\"{version}\"}}")),
        1
    );
    for zero in [
        "pubsub_requests_rate_limited_total",
        "pubsub_panics_total",
        "pubsub_draining",
        "pubsub_topics",
        "pubsub_memory_bytes",
    ] {
        assert_eq!(page.count(zero), 0, "{zero}");
    }
    assert_eq!(page.count("pubsub_max_memory_bytes"), 1 << 30);
    assert!(
        page.families
            .iter()
            .all(|family| !family.name.starts_with("pubsub_topic_"))
    );
}

#[test]
fn page_has_the_negotiated_format() {
    let server = TestServer::start();
    let mut http = server.http();
    let openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    for path in ["/metrics", "/metrics?format=openmetrics", "/metrics?"] {
        let reply = http.get(path);
        assert_eq!(reply.header("Content-Type"), Some(openmetrics), "{path}");
        Page::parse(std::str::from_utf8(&reply.body).unwrap());
    }
    let reply = http.get("/metrics?format=prometheus");
    let older = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(reply.header("Content-Type"), Some(older));
    let text = String::from_utf8(reply.body).unwrap();
    assert!(text.contains("# TYPE pubsub_messages_published_total counter\n"));
    assert!(text.contains("# TYPE pubsub_subscriber_lag histogram\n"));
    assert!(!text.contains("# EOF") && !text.contains("# UNIT"));
    for (path, accept, expected) in [
        ("/metrics", "text/plain", older),
        (
            "/metrics",
            "text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
            older,
        ),
        ("/metrics", "*/*", openmetrics),
        (
            "/metrics",
            "application/openmetrics-text;q=0.5, text/plain;q=0.3",
            openmetrics,
        ),
        ("/metrics?format=openmetrics", "text/plain", openmetrics),
    ] {
        let reply = http.request("GET", path, &[("Accept", accept)], "");
        assert_eq!(reply.header("Content-Type"), Some(expected), "{accept}");
        assert_eq!(reply.header("Vary"), Some("Accept"));
    }
    for wrong in [
        "format=xml",
        "format=",
        "format=prometheus&format=prometheus",
        "x=1",
    ] {
        let reply = http.get(&format!("/metrics?{wrong}"));
        reply.expect_problem(422, "VALIDATION_ERROR");
    }
    let head = http.request("HEAD", "/metrics", &[], "");
    assert_eq!(
        (head.status, head.header("Content-Type")),
        (200, Some(openmetrics))
    );
    let post = http.request("POST", "/metrics", &[], "");
    post.expect_problem(405, "METHOD_NOT_ALLOWED");
}

/// Both formats have the same samples, except for the names of the gauge histogram.
#[test]
fn both_formats_have_the_same_series() {
    let server = TestServer::with_topic("orders");
    let mut http = server.http();
    let mut series = |format: &str| -> BTreeSet<String> {
        let body = http.get(&format!("/metrics?format={format}")).body;
        let text = String::from_utf8(body).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let series = lines.map(|line| line.rsplit_once(' ').unwrap().0);
        series
            .map(|series| series.replace("lag_g", "lag_"))
            .collect()
    };
    assert_eq!(series("openmetrics"), series("prometheus"));
}

#[test]
fn busiest_topics_have_series_and_the_rest_are_summed() {
    let server = TestServer::with(|config| config.metrics_topics = 2);
    let mut publisher = server.ws();
    for (topic, messages) in [("quiet", 1), ("busy", 30), ("a.b:c-d_1", 7), ("empty", 0)] {
        server.create_topic(topic);
        publisher.publish_many(topic, 1, messages);
    }
    let mut client = server.ws();
    client.subscribe("busy", "c");
    let page = server.metrics();
    let shown = page
        .samples()
        .filter(|sample| sample.name == "pubsub_topic_subscriptions");
    let shown: Vec<_> = shown
        .map(|sample| sample.labels["topic"].as_str())
        .collect();
    assert_eq!(shown, ["a.b:c-d_1", "busy"]);
    let published = |topic: &str| {
        page.count(&format!(
            "pubsub_topic_messages_published_total{{topic=\"{topic}\"}}"
        ))
    };
    assert_eq!((published("busy"), published("a.b:c-d_1")), (30, 7));
    assert_eq!(page.count("pubsub_topic_subscriptions{topic=\"busy\"}"), 1);
    assert!(page.count("pubsub_topic_history_bytes{topic=\"busy\"}") > 0);
    assert_eq!(page.count("pubsub_topic_lag_max{topic=\"busy\"}"), 0);
    assert_eq!(
        page.count("pubsub_topic_messages_dropped_total{topic=\"busy\"}"),
        0
    );
    assert_eq!(page.count("pubsub_topics_without_series"), 2);
    server.delete_topic("quiet");
    server.delete_topic("empty");
    assert_eq!(server.metrics().count("pubsub_topics_without_series"), 0);
}

#[test]
fn page_is_valid_with_topic_series_and_no_topics() {
    let server = TestServer::with(|config| config.metrics_topics = 2);
    let page = server.metrics();
    assert!(
        page.find("pubsub_topic_subscriptions{topic=\"x\"}")
            .is_none()
    );
    assert_eq!(page.count("pubsub_topics_without_series"), 0);
}
