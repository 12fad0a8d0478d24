//! Closes connections of publishers and changes their key, while they publish or wait.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use threadcast::Server;
use threadcast::client::Client;
use threadcast::load::Failure;

use super::keys::{Keys, PUBLISHERS};
use super::shared::{Random, Shared};

const DEADLINE: Duration = Duration::from_secs(10);
/// How many connections are listed to choose from.
const LISTED: u64 = 1000;

/// Runs until publishing is over.
pub(crate) fn run(
    shared: &Shared,
    keys: &Keys,
    server: &Server,
    client: &Client,
) -> Result<(), Failure> {
    let mut random = Random(shared.plan.seed);
    while Instant::now() < shared.publish_until {
        thread::sleep(random.millis(20..120));
        if random.within(0..4) == 0 {
            keys.change()?;
            server.reload_keys()?;
        } else {
            close_one(shared, keys, client, &mut random)?;
        }
    }
    Ok(())
}

fn close_one(
    shared: &Shared,
    keys: &Keys,
    client: &Client,
    random: &mut Random,
) -> Result<(), Failure> {
    let mut publishers = client.connections(LISTED)?.connections;
    publishers.retain(|connection| connection.key.as_deref() == Some(PUBLISHERS));
    if publishers.is_empty() {
        return Ok(());
    }
    let id = publishers[random.within(0..publishers.len() as u64) as usize].id;
    let mut stream = TcpStream::connect(shared.server)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    write!(
        stream,
        "DELETE /connections/{id} HTTP/1.1\r\nHost: {}\r\nX-API-Key: {}\r\nConnection: close\r\n\r\n",
        shared.server,
        keys.fixed()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    // It may have ended already.
    if !answer.starts_with("HTTP/1.1 200 ") && !answer.starts_with("HTTP/1.1 404 ") {
        shared.violation(format!("closing a connection was answered with {answer}"));
    }
    Ok(())
}
