//! Takes publishers their connection or their key away, while they publish or wait.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use threadcast::Server;
use threadcast::client::Client;

use super::Failure;
use super::keys::{Keys, PUBLISHERS};
use super::random::Random;
use super::world::World;

const DEADLINE: Duration = Duration::from_secs(10);
/// Connections looked at for one to close.
const LISTED: u64 = 1000;

/// Until nothing is published any more.
pub(crate) fn run(
    world: &World,
    keys: &Keys,
    server: &Server,
    client: &Client,
) -> Result<(), Failure> {
    let mut random = Random(world.plan.seed);
    while Instant::now() < world.publish_until {
        thread::sleep(random.millis(20..120));
        if random.within(0..4) == 0 {
            keys.change()?;
            server.reload_keys()?;
        } else {
            kick(world, keys, client, &mut random)?;
        }
    }
    Ok(())
}

fn kick(world: &World, keys: &Keys, client: &Client, random: &mut Random) -> Result<(), Failure> {
    let mut publishers = client.connections(LISTED)?.connections;
    publishers.retain(|connection| connection.key.as_deref() == Some(PUBLISHERS));
    if publishers.is_empty() {
        return Ok(());
    }
    let id = publishers[random.within(0..publishers.len() as u64) as usize].id;
    let mut stream = TcpStream::connect(world.server)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    write!(
        stream,
        "DELETE /connections/{id} HTTP/1.1\r\nHost: {}\r\nX-API-Key: {}\r\nConnection: close\r\n\r\n",
        world.server,
        keys.house()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    // It may have gone by itself.
    if !answer.starts_with("HTTP/1.1 200 ") && !answer.starts_with("HTTP/1.1 404 ") {
        world.violation(format!("closing a connection was answered with {answer}"));
    }
    Ok(())
}
