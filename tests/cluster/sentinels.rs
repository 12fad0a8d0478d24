//! Redis by its Sentinels: nodes find the primary, and go where it goes.

use std::time::Duration;

use serde_json::Value;

use crate::cluster::{
    Answer, Certificates, Follower, MASTER, Node, NodeProcess, READY_LIMIT, Redis, Sentinel,
    free_port, within,
};

const FAILOVER_LIMIT: Duration = Duration::from_secs(30);
const LINE_LIMIT: Duration = Duration::from_secs(10);

/// A primary, a replica, Sentinels that know each other and both, and two nodes that were given the Sentinels.
struct Watched {
    // Dropped in this order: nodes end before what they use.
    followers: Vec<Follower>,
    nodes: Vec<Node>,
    sentinels: Vec<Sentinel>,
    replica: Redis,
    primary: Redis,
}

impl Watched {
    fn by(sentinels: usize) -> Watched {
        let primary = Redis::start();
        let replica = Redis::replica_of(&primary);
        let quorum = sentinels / 2 + 1;
        let watch = |_| Sentinel::watching(primary.addr(), quorum);
        let sentinels: Vec<_> = (0..sentinels).map(watch).collect();
        for sentinel in &sentinels {
            sentinel.await_known(1, sentinels.len() - 1);
        }
        let nodes = [(); 2].map(|()| node_at(&url(&sentinels.iter().collect::<Vec<_>>())));
        nodes.iter().for_each(Node::await_ready);
        nodes[0].create_topic("orders");
        let followers = nodes.iter().enumerate();
        let followers =
            followers.map(|(n, node)| Follower::start(node, "orders", &format!("f{n}")));
        let watched = Watched {
            followers: followers.collect(),
            nodes: nodes.into(),
            sentinels,
            replica,
            primary,
        };
        assert_eq!(watched.nodes[0].publish("orders", 1, 20).len(), 20);
        watched.expect_whole(20);
        watched.replica.await_replicated(&watched.primary);
        watched
    }

    #[track_caller]
    fn expect_whole(&self, head: u64) {
        for follower in &self.followers {
            follower.expect_whole(head);
            follower.look(|account| {
                assert_eq!(account.notices, Vec::<Value>::new());
                assert_eq!(account.epoch_changes, 0);
            });
        }
    }

    /// The nodes publish to the former replica, and go on where they were.
    #[track_caller]
    fn expect_at_replica(&self) {
        within(READY_LIMIT, "the nodes are at the new primary", || {
            links_at(&self.replica) == 2 && self.nodes.iter().all(Node::is_ready)
        });
        for (n, node) in self.nodes.iter().enumerate() {
            let first = 21 + n as u64 * 10;
            let seqs: Vec<u64> = (first..first + 10).collect();
            assert_eq!(node.publish("orders", first, first + 9), seqs);
        }
        self.expect_whole(40);
    }
}

/// How many nodes follow the topic in this Redis.
fn links_at(redis: &Redis) -> i64 {
    let channels = redis.command(&["PUBSUB", "CHANNELS", "*orders*"]).texts();
    let count = |channel: &String| match redis.command(&["PUBSUB", "NUMSUB", channel]) {
        Answer::List(answer) => answer[1].number(),
        other => panic!("no list: {other:?}"),
    };
    channels.iter().map(count).sum()
}

fn url(sentinels: &[&Sentinel]) -> String {
    let hosts: Vec<_> = sentinels.iter().map(|one| one.addr().to_string()).collect();
    format!("redis+sentinel://{}/{MASTER}", hosts.join(","))
}

fn node_at(url: &str) -> Node {
    Node::start(&[("PUBSUB_REDIS_URL", url), ("PUBSUB_HISTORY_SIZE", "1000")])
}

#[track_caller]
fn expect_refused(node: &Node, reason: &str) {
    within(LINE_LIMIT, reason, || {
        let error = node.health()["engine_error"].to_string();
        error.contains(reason) && node.has_logged(reason)
    });
    assert!(!node.is_ready());
}

fn fail_over(watched: &Watched) {
    let sentinel = &watched.sentinels[0];
    // Not before it knows that the replica works.
    within(FAILOVER_LIMIT, "the Sentinel begins a failover", || {
        let begun = sentinel.try_command(&["SENTINEL", "FAILOVER", MASTER]);
        begun.is_ok()
    });
    within(FAILOVER_LIMIT, "the replica is the primary", || {
        has_role(&watched.replica, "master") && has_role(&watched.primary, "slave")
    });
}

/// Sentinel ends all connections to a Redis whose role changes, so it need not answer.
fn has_role(redis: &Redis, role: &str) -> bool {
    match redis.try_command(&["ROLE"]) {
        Ok(Answer::List(answer)) => answer[0].text() == role,
        _ => false,
    }
}

#[test]
fn failover_with_three_sentinels_loses_nothing_that_was_replicated() {
    let watched = Watched::by(3);
    fail_over(&watched);
    watched.expect_at_replica();
}

#[test]
fn failover_with_one_sentinel_loses_nothing_that_was_replicated() {
    let watched = Watched::by(1);
    fail_over(&watched);
    watched.expect_at_replica();
}

#[test]
fn nodes_leave_a_primary_that_hangs() {
    let watched = Watched::by(3);
    watched.primary.pause();
    within(FAILOVER_LIMIT, "the Sentinels name the replica", || {
        let named = watched.sentinels.iter().map(Sentinel::named);
        named
            .filter(|named| *named == watched.replica.addr())
            .count()
            >= 2
    });
    watched.expect_at_replica();
}

#[test]
fn nodes_leave_a_primary_that_goes_on_when_the_sentinels_name_another() {
    let watched = Watched::by(1);
    let sentinel = &watched.sentinels[0];
    // The old primary knows nothing of its end, and takes what it gets.
    sentinel.command(&["SENTINEL", "REMOVE", MASTER]);
    watched.replica.promote(&watched.primary);
    let port = watched.replica.addr().port().to_string();
    sentinel.command(&["SENTINEL", "MONITOR", MASTER, "127.0.0.1", &port, "1"]);
    watched.expect_at_replica();
    assert_eq!(watched.primary.info("replication", "role"), "master");
    assert!(watched.nodes[0].has_logged("the Sentinels name another master"));
}

#[test]
fn sentinels_that_are_away_are_passed_over() {
    let watched = Watched::by(3);
    watched.sentinels[0].kill();
    watched.sentinels[1].pause();
    let node = node_at(&url(&watched.sentinels.iter().collect::<Vec<_>>()));
    node.await_ready();
    assert_eq!(node.publish("orders", 21, 21), [21]);
    watched.expect_whole(21);
    assert!(watched.nodes.iter().all(Node::is_ready));
}

#[test]
fn one_sentinel_with_an_old_view_does_not_count() {
    let watched = Watched::by(3);
    let other = Redis::start();
    let outdated = Sentinel::watching(other.addr(), 1);
    let mut all = vec![&outdated];
    all.extend(&watched.sentinels);
    let node = node_at(&url(&all));
    node.await_ready();
    assert_eq!(node.publish("orders", 21, 21), [21]);
    watched.expect_whole(21);
    assert_eq!(other.keys(), Vec::<String>::new());
}

#[test]
fn node_without_any_sentinel_waits_for_one() {
    let primary = Redis::start();
    let port = free_port();
    let node = node_at(&format!("redis+sentinel://127.0.0.1:{port}/{MASTER}"));
    expect_refused(&node, "no Sentinel names the master mymaster: 127.0.0.1:");
    let _sentinel = Sentinel::with(port, primary.addr(), 1, &[]);
    node.await_ready();
    node.create_topic("orders");
    assert_eq!(node.publish("orders", 1, 1), [1]);
}

#[test]
fn sentinel_that_does_not_know_the_name_is_named() {
    let primary = Redis::start();
    let sentinel = Sentinel::watching(primary.addr(), 1);
    let node = node_at(&format!("redis+sentinel://{}/other", sentinel.addr()));
    expect_refused(&node, "it does not know it");
}

#[test]
fn replica_that_a_sentinel_names_is_refused_until_it_is_promoted() {
    let primary = Redis::start();
    let replica = Redis::replica_of(&primary);
    let sentinel = Sentinel::watching(replica.addr(), 1);
    let node = node_at(&url(&[&sentinel]));
    let reason = format!("it is a replica (the Sentinels name {})", replica.addr());
    expect_refused(&node, &reason);
    replica.promote(&primary);
    node.await_ready();
}

#[test]
fn sentinels_and_their_master_speak_tls_and_want_passwords() {
    let certificates = Certificates::new();
    let secret = "sEcReT-pw";
    let primary = Redis::with_tls(&certificates, &[("requirepass", secret)]);
    let tls_port = free_port();
    let mut settings = certificates.settings(tls_port);
    for (name, value) in [
        ("tls-replication", "yes".to_owned()),
        ("sentinel", format!("auth-pass {MASTER} {secret}")),
        ("requirepass", "sEcReT-of-sentinels".to_owned()),
    ] {
        settings.push((name.to_owned(), value));
    }
    let _sentinel = Sentinel::with(free_port(), primary.node_addr(), 1, &settings);
    let hosts = format!("127.0.0.1:{tls_port}");
    let start = |url: &str| {
        Node::start(&[
            ("PUBSUB_REDIS_URL", url),
            ("PUBSUB_REDIS_CA_FILE", &certificates.ca()),
            ("PUBSUB_LOG_LEVEL", "DEBUG"),
        ])
    };
    let node = start(&format!(
        "rediss+sentinel://:{secret}@{hosts}/{MASTER}?sentinel_password=sEcReT-of-sentinels"
    ));
    node.await_ready();
    node.create_topic("orders");
    assert_eq!(node.publish("orders", 1, 1), [1]);
    let refused = start(&format!(
        "rediss+sentinel://:{secret}@{hosts}/{MASTER}?sentinel_password=sEcReT-but-wrong"
    ));
    expect_refused(&refused, "no Sentinel names the master");
    for node in [&node, &refused] {
        assert!(!node.has_logged("sEcReT"), "{:?}", node.log());
        for path in ["/config", "/health"] {
            assert!(!node.get(path).to_string().contains("sEcReT"), "{path}");
        }
    }
}

#[test]
fn wrong_urls_with_sentinels_stop_the_start_without_their_passwords() {
    for url in [
        "redis+sentinel://127.0.0.1:26379",
        "redis+sentinel://127.0.0.1:26379/",
        "redis+sentinel:///mymaster",
        "redis+sentinel://127.0.0.1:26379,/mymaster",
        "redis+sentinel://:sEcReT@/mymaster",
        "redis+sentinel://127.0.0.1/my master",
        "redis+sentinel://127.0.0.1/mymaster?sentinel_pasword=sEcReT",
        "rediss://:sEcReT@127.0.0.1#insecure",
        "redis://127.0.0.1,127.0.0.2",
    ] {
        let node = NodeProcess::start(&[("PUBSUB_REDIS_URL", url)]);
        let status = node.await_end();
        let log = node.log();
        assert_eq!(status.code(), Some(2), "{url}: {log:?}");
        assert_eq!(log.len(), 1, "one line for {url}: {log:?}");
        assert!(log[0].contains("PUBSUB_REDIS_URL"), "{url}: {log:?}");
        assert!(!log[0].contains("sEcReT"), "{url}: {log:?}");
    }
}
