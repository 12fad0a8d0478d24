//! Limits of one address: connections, requests per second, and that they are back at their baseline afterwards.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Dial, HttpClient, StreamClient, TestServer, eventually};

const REFUSED: &str = "pubsub_connections_rejected_total{reason=\"address\"}";
const LIMITED: &str = "pubsub_requests_rate_limited_total";

/// A server whose own checks, over the proxied address 192.0.2.1, do not count against clients.
fn behind_a_proxy(max_connections: usize, max_rate: u32) -> TestServer {
    let server = TestServer::with(|config| {
        config.max_connections_per_ip = max_connections;
        config.max_request_rate = max_rate;
        config.trusted_proxies = vec!["127.0.0.0/8".to_owned()];
    });
    from(
        &mut HttpClient::connect(server.addr()),
        "POST",
        "/topics",
        "192.0.2.1",
        r#"{"name":"orders"}"#,
    )
    .expect(201);
    server
}

fn from(
    http: &mut HttpClient,
    method: &str,
    path: &str,
    client: &str,
    body: &str,
) -> crate::harness::Reply {
    http.request(method, path, &[("X-Forwarded-For", client)], body)
}

#[test]
fn connections_of_one_address_are_limited_and_places_come_back() {
    let server = TestServer::with(|config| config.max_connections_per_ip = 3);
    server.create_topic("orders");
    for _ in 0..3 {
        let mut held = eventually_http(&server);
        let ws = server.ws();
        let stream = server.stream("orders", "");
        let mut refused = HttpClient::connect(server.addr());
        let reply = refused.read_reply();
        let detail = reply.expect_problem(503, "UNAVAILABLE");
        assert!(detail.contains("address"), "{detail}");
        assert!(reply.header("Retry-After").is_some(), "{reply}");
        refused.expect_end();
        held.get("/livez").expect(200);
        drop((held, ws, stream));
    }
    let mut last = eventually_http(&server);
    let page = last.get("/metrics");
    let page = String::from_utf8(page.body).unwrap();
    assert!(page.contains(REFUSED) && !page.contains(&format!("{REFUSED} 0\n")));
    let total = last.get("/health").expect(200)["connections"].clone();
    assert_eq!(total, 1);
}

/// A connection that is taken once those before have ended.
fn eventually_http(server: &TestServer) -> HttpClient {
    let mut taken = None;
    eventually("the places of ended connections are free", || {
        let mut https: Vec<_> = (0..3).map(|_| HttpClient::connect(server.addr())).collect();
        for http in &mut https {
            http.try_send_raw(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
        }
        let statuses: Vec<_> = https
            .iter_mut()
            .map(|http| http.read_reply().status)
            .collect();
        taken = https.pop();
        statuses == [200; 3]
    });
    // The other two end with this function; their places are free soon.
    let mut http = taken.expect("a connection");
    eventually("only this one is open", || {
        http.get("/health").expect(200)["connections"] == 1
    });
    http
}

#[test]
fn requests_behind_a_proxy_count_for_their_clients_while_they_last() {
    let server = behind_a_proxy(2, 0);
    let client = "203.0.113.5";
    // All over few connections of the proxy, one after the other: no client has more than one at once.
    let mut http = HttpClient::connect(server.addr());
    for n in 0..20 {
        for address in [client, "203.0.113.6", "2001:db8::1"] {
            from(&mut http, "GET", "/topics/orders", address, "").expect(200);
            let body = json!({"payload": n}).to_string();
            from(&mut http, "POST", "/topics/orders/messages", address, &body).expect(201);
        }
    }
    let dial = |address: &str| Dial::to(server.addr()).field("X-Forwarded-For", address);
    let mut ws = dial(client).connect();
    let path = "/topics/orders/events";
    let mut stream = StreamClient::open_with(server.addr(), path, &[("X-Forwarded-For", client)]);
    stream.expect("ack");
    for (method, path) in [
        ("GET", "/topics/orders"),
        ("GET", path),
        ("GET", "/metrics"),
    ] {
        let reply = from(&mut http, method, path, client, "");
        let detail = reply.expect_problem(503, "UNAVAILABLE");
        assert!(detail.contains("address"), "{detail}");
        assert!(reply.header("Retry-After").is_some(), "{reply}");
    }
    assert_eq!(dial(client).refused_status(), 503);
    // Whether the server is up is no matter of the client, and others are served.
    from(&mut http, "GET", "/livez", client, "").expect(200);
    from(&mut http, "GET", "/readyz", client, "").expect(200);
    assert_eq!(from(&mut http, "OPTIONS", "/", client, "").status, 204);
    from(&mut http, "GET", "/topics/orders", "203.0.113.6", "").expect(200);
    ws.fence();
    ws.close();
    eventually("the place of the WebSocket is free", || {
        from(&mut http, "GET", "/topics/orders", client, "").status == 200
    });
    drop(stream);
    let mut sockets = Vec::new();
    eventually("both places are free", || {
        sockets.clear();
        sockets.extend((0..2).map(|_| dial(client).try_connect()));
        sockets.iter().all(Result::is_ok)
    });
}

#[test]
fn addresses_of_one_ipv6_network_are_one_and_ipv4_is_ipv4_in_any_form() {
    let server = behind_a_proxy(1, 0);
    for (held, same, other) in [
        (
            "2001:db8:0:1::1",
            "[2001:db8:0:1:ffff::2]:80",
            "2001:db8:0:2::1",
        ),
        ("203.0.113.5", "::ffff:203.0.113.5", "203.0.113.6"),
        (
            "::ffff:203.0.113.7",
            "203.0.113.7:1234",
            "::ffff:203.0.113.8",
        ),
    ] {
        let _ws = Dial::to(server.addr())
            .field("X-Forwarded-For", held)
            .connect();
        let mut http = HttpClient::connect(server.addr());
        let status = |http: &mut HttpClient, client: &str| {
            from(http, "GET", "/topics/orders", client, "").status
        };
        assert_eq!(status(&mut http, same), 503, "{same}");
        assert_eq!(status(&mut http, other), 200, "{other}");
    }
}

/// One bucket of a second: what is in it at once, and then the rate.
#[test]
fn requests_over_the_rate_of_an_address_get_429() {
    const RATE: u32 = 20;
    let server = TestServer::with(|config| config.max_request_rate = RATE);
    let mut clients = [
        HttpClient::connect(server.addr()),
        HttpClient::connect(server.addr()),
    ];
    let start = Instant::now();
    let mut statuses = Vec::new();
    for n in 0..200 {
        let path = ["/topics", "/nowhere", "/health", "/topics/none"][n % 4];
        let reply = clients[n % 2].get(path);
        if reply.status == 429 {
            let detail = reply.expect_problem(429, "RATE_LIMITED");
            assert!(detail.contains("address"), "{detail}");
            assert_eq!(reply.header("Retry-After"), Some("1"));
        }
        statuses.push(reply.status);
    }
    let taken = statuses.iter().filter(|status| **status != 429).count();
    let most = RATE + (start.elapsed().as_secs_f64() * f64::from(RATE)) as u32 + 1;
    assert!(
        taken as u32 >= RATE && taken as u32 <= most,
        "{taken} of {most}"
    );
    assert_eq!(
        statuses[..RATE as usize]
            .iter()
            .filter(|status| **status == 429)
            .count(),
        0
    );
    assert!(taken < 200, "the test is slower than the rate");
}

#[test]
fn what_is_no_request_of_a_client_is_not_counted() {
    let server = TestServer::with(|config| {
        config.max_request_rate = 1;
        config.allowed_origins = vec!["https://shop.example".to_owned()];
    });
    let mut http = HttpClient::connect(server.addr());
    let preflight = [
        ("Origin", "https://shop.example"),
        ("Access-Control-Request-Method", "POST"),
    ];
    for _ in 0..20 {
        http.get("/livez").expect(200);
        http.get("/readyz").expect(200);
        assert_eq!(
            http.request("OPTIONS", "/topics", &preflight, "").status,
            204
        );
        assert_eq!(http.request("OPTIONS", "/", &[], "").status, 204);
        server.ws().fence();
    }
    http.get("/topics").expect(200);
    let fields = [("Origin", "https://shop.example")];
    let reply = http.request("POST", "/topics", &fields, r#"{"name":"a"}"#);
    reply.expect_problem(429, "RATE_LIMITED");
    assert!(
        reply.header("Access-Control-Allow-Origin").is_some(),
        "{reply}"
    );
    let path = "/topics/a/events";
    http.get(path).expect_problem(429, "RATE_LIMITED");
    let mut next = 429;
    eventually("a second later there is room again", || {
        next = http.get("/topics").status;
        next == 200
    });
    assert_eq!(http.request("HEAD", "/topics", &[], "").status, 429);
}

/// Without a key in hand, the rate bounds how fast keys can be guessed.
#[test]
fn requests_without_a_valid_key_count_too() {
    let server = TestServer::with(|config| {
        config.max_request_rate = 5;
        config.api_key = Some(threadcast::ApiKey::new("s3cret").unwrap());
    });
    let mut http = HttpClient::connect(server.addr());
    let statuses: Vec<_> = (0..50)
        .map(|n| {
            let key = format!("guess-{n}");
            http.request("GET", "/topics", &[("X-API-Key", &key)], "")
                .status
        })
        .collect();
    assert_eq!(statuses[..5], [401; 5]);
    assert!(statuses.contains(&429), "{statuses:?}");
}

#[test]
fn rates_of_clients_behind_a_proxy_are_their_own_and_counted() {
    let server = behind_a_proxy(0, 5);
    let mut http = HttpClient::connect(server.addr());
    let statuses = |http: &mut HttpClient, client: &str| {
        (0..20)
            .map(|_| from(http, "GET", "/topics/orders", client, "").status)
            .filter(|status| *status == 429)
            .count()
    };
    assert!(statuses(&mut http, "203.0.113.5") >= 10);
    assert_eq!(
        from(&mut http, "GET", "/topics/orders", "203.0.113.6", "").status,
        200
    );
    // The client cannot escape its rate with an address that it makes up.
    let forged: Vec<_> = (0..50)
        .map(|n| format!("198.51.100.{n}, 203.0.113.5"))
        .map(|client| from(&mut http, "GET", "/topics/orders", &client, "").status)
        .collect();
    assert!(
        forged.iter().filter(|status| **status == 429).count() > 30,
        "{forged:?}"
    );
    let page = from(&mut http, "GET", "/metrics", "192.0.2.9", "");
    let page = String::from_utf8(page.body).unwrap();
    let line = page.lines().find(|line| line.starts_with(LIMITED)).unwrap();
    let count: u64 = line.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(count > 40, "{line}");
}

#[test]
fn address_limits_are_off_by_default() {
    let server = TestServer::start();
    let _held: Vec<_> = (0..100).map(|_| server.ws()).collect();
    let mut http = HttpClient::connect(server.addr());
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(200) {
        http.get("/topics").expect(200);
    }
    assert_eq!(server.metrics().count(REFUSED), 0);
    assert_eq!(server.metrics().count(LIMITED), 0);
}
