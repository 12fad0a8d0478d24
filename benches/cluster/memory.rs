//! What topics, events and subscriptions take of the memory of Redis. As Redis counts it, so one round is enough.

use threadcast::load::{Connection, Failure};

use super::load::threadcast::{publish_to, read_ack, subscribe_request};
use super::many::{create_topics, topic_name};
use super::options::Options;
use super::servers::Servers;
use super::table::print_fact;

/// How many events the publisher sends before it waits for their acks. The node publishes them as one batch, if it reads them at
/// once.
const AT_ONCE: [u64; 3] = [1, 32, 512];
/// Bytes of a payload with its quotation marks.
const PAYLOADS: [usize; 2] = [2, 128];
/// A client id like that of a subscriber: 12 bytes.
const CLIENT_ID_BYTES: usize = 12;

/// One node.
pub(crate) fn memory(options: &Options) -> Result<(), Failure> {
    let events = options.pick(10_000, 1_000);
    let topics = options.pick(1_000, 100);
    let history = events.to_string();
    let flags = ["--history-size", &history, "--max-queue-size", &history];
    let servers = Servers::nodes(1, &flags)?;
    let mut redis = RedisMemory::of(&servers)?;
    create_topics(&servers, topics + 1)?;
    println!();
    println!("Memory of Redis");
    let last = count_histories(&servers, &mut redis, events)?;
    count_topic(&mut redis, last, topics + 1)?;
    let own: Vec<String> = (0..topics).map(topic_name).collect();
    let in_own = count_subscriptions(&servers, &mut redis, "each of its own topic", &own, &own)?;
    let one = topic_name(topics);
    let all = vec![one.clone(); topics as usize];
    let in_one = count_subscriptions(&servers, &mut redis, "all of one topic", &all, &[one])?;
    drop([in_own, in_one]);
    servers.stop()
}

/// Fills the history of a topic for each size of payload and of batch. Returns the number of the last topic.
fn count_histories(
    servers: &Servers,
    redis: &mut RedisMemory,
    events: u64,
) -> Result<u64, Failure> {
    let mut number = 0;
    for payload_bytes in PAYLOADS {
        for at_once in AT_ONCE {
            number += 1;
            let topic = topic_name(number);
            publish(servers, &topic, events, at_once, payload_bytes)?;
            let stream = key_of(number, "events");
            let (bytes, batches) = (redis.bytes(&stream)?, redis.ask(&format!("XLEN {stream}"))?);
            print_fact(&format!(
                "a history of {events} events, payload of {payload_bytes} bytes, {:.1} events per batch: {} for an event",
                events as f64 / batches as f64,
                each(bytes, events),
            ));
        }
    }
    Ok(number)
}

/// What a topic takes besides its events and its subscriptions. Topic 0 has no event.
fn count_topic(redis: &mut RedisMemory, used: u64, topics: u64) -> Result<(), Failure> {
    let name = redis.bytes("threadcast:topics")?.div_ceil(topics);
    let unused = name + redis.bytes(&key_of(0, "topic"))?;
    let marks = redis.bytes(&key_of(used, "marks"))?;
    let used = name + redis.bytes(&key_of(used, "topic"))? + marks;
    print_fact(&format!(
        "a topic besides its events: {used} bytes, of which {marks} are its marks; {unused} bytes before its first event"
    ));
    Ok(())
}

/// Subscribes once for each of the names, which are those of these topics. Nobody was subscribed to them before.
fn count_subscriptions(
    servers: &Servers,
    redis: &mut RedisMemory,
    what: &str,
    names: &[String],
    topics: &[String],
) -> Result<Connection, Failure> {
    let before = redis.ask(OWNED)?;
    let subscriber = subscribe(servers, names)?;
    let owned = redis.ask(OWNED)? - before;
    let mut owners = 0;
    for topic in topics {
        owners += redis.bytes(&format!("threadcast:{{{topic}}}:owners"))?;
    }
    let count = names.len() as u64;
    print_fact(&format!(
        "{count} subscriptions, {what}: {} in the hashes of owners, {} in the set of the node",
        each(owners, count),
        each(owned, count),
    ));
    Ok(subscriber)
}

/// The memory of what the one node owns.
const OWNED: &str = r#"EVAL "return redis.call('MEMORY','USAGE',redis.call('KEYS','threadcast:owned:*')[1] or '','SAMPLES','0')" 0"#;

fn key_of(number: u64, what: &str) -> String {
    format!("threadcast:{{{}}}:{what}", topic_name(number))
}

fn each(bytes: u64, count: u64) -> String {
    format!("{:.0} bytes", bytes as f64 / count as f64)
}

fn publish(
    servers: &Servers,
    topic: &str,
    events: u64,
    at_once: u64,
    payload_bytes: usize,
) -> Result<(), Failure> {
    let payload = "x".repeat(payload_bytes - 2);
    let mut publisher = Connection::open(servers.address(0), None)?;
    publisher.upgrade("/ws", None)?;
    for first in (1..=events).step_by(at_once as usize) {
        let some = first..=events.min(first + at_once - 1);
        for number in some.clone() {
            publish_to(topic, number, &payload, publisher.output());
        }
        publisher.send()?;
        some.into_iter()
            .try_for_each(|_| read_ack(&mut publisher))?;
    }
    Ok(())
}

/// Subscribes once to each of these topics.
fn subscribe(servers: &Servers, topics: &[String]) -> Result<Connection, Failure> {
    let mut connection = Connection::open(servers.address(0), None)?;
    connection.upgrade("/ws", None)?;
    for (number, topic) in topics.iter().enumerate() {
        let client_id = format!("{number:0CLIENT_ID_BYTES$}");
        connection.add_text(subscribe_request(topic, &client_id).as_bytes());
        connection.send()?;
        read_ack(&mut connection)?;
    }
    Ok(connection)
}

/// Asks Redis.
struct RedisMemory(Connection);

impl RedisMemory {
    fn of(servers: &Servers) -> Result<RedisMemory, Failure> {
        let address = servers.redis_address().ok_or("servers without Redis")?;
        Ok(RedisMemory(Connection::open(address, None)?))
    }

    /// What this key takes, all of its content counted.
    fn bytes(&mut self, key: &str) -> Result<u64, Failure> {
        self.ask(&format!("MEMORY USAGE {key} SAMPLES 0"))
    }

    /// Sends a command whose answer is a number. What is not there takes nothing.
    fn ask(&mut self, command: &str) -> Result<u64, Failure> {
        let request = format!("{command}\r\n");
        let answer = self.0.exchange(request.as_bytes(), b"\r\n")?;
        let answer = String::from_utf8_lossy(&answer);
        match answer.trim_end().split_at_checked(1) {
            Some((":", number)) => Ok(number.parse()?),
            Some(("$", "-1")) => Ok(0),
            _ => Err(format!("{command}: {answer}").into()),
        }
    }
}
