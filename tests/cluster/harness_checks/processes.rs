//! Redis and nodes as processes, and a subscriber that moves between servers.

use std::time::Duration;

use crate::cluster::{Answer, Follower, Node, Redis, let_pass};
use crate::harness::TestServer;

const SHORT: Duration = Duration::from_millis(300);

fn text(text: &str) -> Answer {
    Answer::Text(text.to_owned())
}

#[test]
fn redis_restarts_empty_or_with_its_file_on_the_same_port() {
    let redis = Redis::durable();
    let addr = redis.addr();
    redis.command(&["SET", "k", "v"]);
    redis.restart();
    assert_eq!(redis.command(&["GET", "k"]), text("v"));
    redis.restart_empty();
    assert_eq!(redis.command(&["GET", "k"]), Answer::Nothing);
    assert_eq!(redis.addr(), addr);
}

#[test]
fn redis_that_is_killed_is_gone_and_its_directory_is_removed() {
    let redis = Redis::start();
    let directory = redis.directory().to_owned();
    redis.kill();
    assert!(redis.try_command(&["PING"]).is_err());
    drop(redis);
    assert!(!directory.exists());
}

#[test]
fn redis_that_is_stopped_answers_when_it_goes_on() {
    let redis = Redis::start();
    redis.pause();
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| redis.command(&["PING"]));
        let_pass(SHORT);
        assert!(!answer.is_finished());
        redis.proceed();
        assert_eq!(answer.join().unwrap(), text("PONG"));
    });
}

#[test]
fn a_promoted_replica_lacks_only_what_came_later() {
    let primary = Redis::start();
    let replica = Redis::replica_of(&primary);
    primary.command(&["SET", "before", "1"]);
    replica.promote(&primary);
    primary.command(&["SET", "after", "1"]);
    assert_eq!(replica.keys(), ["before"]);
    replica.command(&["SET", "own", "1"]);
}

/// The first word of the error that a write gets.
#[track_caller]
fn refusal(redis: &Redis) -> String {
    let refused = redis.try_command(&["SET", "k", "v"]).unwrap_err();
    let text = refused.to_string();
    text.split(' ').next().unwrap().to_owned()
}

#[test]
fn redis_refuses_writes_out_of_memory_without_snapshots_and_as_a_replica() {
    let redis = Redis::with(&[("maxmemory-policy", "noeviction")]);
    redis.set("maxmemory", "1");
    assert_eq!(refusal(&redis), "OOM");
    redis.set("maxmemory", "0");
    redis.break_saving();
    assert_eq!(refusal(&redis), "MISCONF");
    redis.mend_saving();
    assert_eq!(refusal(&Redis::replica_of(&redis)), "READONLY");
    redis.command(&["SET", "k", "v"]);
}

#[test]
fn redis_takes_another_password_while_it_runs() {
    let redis = Redis::with(&[("requirepass", "first")]);
    let older = redis.url();
    redis.set("requirepass", "second");
    assert_ne!(redis.url(), older);
    assert_eq!(redis.command(&["PING"]), text("PONG"));
}

#[test]
fn redis_ends_connections_of_one_kind() {
    let redis = Redis::start();
    let mut stream = std::net::TcpStream::connect(redis.addr()).unwrap();
    std::io::Write::write_all(&mut stream, b"SUBSCRIBE c\r\n").unwrap();
    crate::cluster::within(SHORT, "a subscriber", || {
        redis.command(&["PUBSUB", "NUMSUB", "c"]) == subscribers("c", 1)
    });
    assert_eq!(redis.kill_clients("normal"), 0);
    assert_eq!(redis.kill_clients("pubsub"), 1);
}

fn subscribers(channel: &str, count: i64) -> Answer {
    Answer::List(vec![text(channel), Answer::Number(count)])
}

#[test]
fn redis_asks_for_its_password() {
    let redis = Redis::with(&[("requirepass", "secret")]);
    assert_eq!(redis.command(&["PING"]), text("PONG"));
    assert!(redis.url().contains(":secret@"));
}

#[test]
fn a_node_is_ready_can_be_stopped_and_ends_in_order() {
    let node = Node::start(&[]);
    node.await_ready();
    node.pause();
    node.proceed();
    assert!(node.is_ready());
    node.shut_down();
    assert!(node.ended().is_some());
}

#[test]
fn a_follower_resumes_where_it_was() {
    let server = TestServer::with_topic("orders");
    let follower = Follower::at(server.addr(), "orders", "f", None);
    let mut publisher = server.ws();
    publisher.publish_many("orders", 1, 10);
    follower.expect_whole(10);
    follower.reset();
    publisher.publish_many("orders", 11, 20);
    follower.resume_at(server.addr());
    publisher.publish_many("orders", 21, 500);
    follower.expect_whole(500);
    server.delete_topic("orders");
    follower.await_end("topic_deleted");
}
