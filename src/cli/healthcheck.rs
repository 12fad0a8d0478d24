//! Asks the server of this machine whether it lives, as a container's health check does.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use crossbeam_channel::bounded;

use super::failure::Failure;
use super::reach::reachable;
use super::settings::Listen;

/// From the start to the answer, name lookup included.
const DEADLINE: Duration = Duration::from_secs(2);
/// More than a status line ever has.
const STATUS_LINE_BYTES: u64 = 1024;

/// Succeeds when the server answers 200. The asking thread needs no deadlines of its own (a name lookup
/// could have none): when time is up the process ends, and the thread with it.
pub(super) fn run(listen: &Listen) -> Result<(), Failure> {
    let (host, port) = (reachable(&listen.host), listen.port);
    if port == 0 {
        return Err(Failure::usage(
            "--port (PUBSUB_PORT): '0' is not allowed: the port it listens on",
        ));
    }
    let (tell, told) = bounded(1);
    let ask = move || drop(tell.send(status_line(&host, port)));
    thread::Builder::new()
        .name("ask".to_owned())
        .spawn(ask)
        .map_err(Failure::failed)?;
    match told.recv_timeout(DEADLINE) {
        Ok(Ok(line)) if is_ok(&line) => Ok(()),
        Ok(Ok(line)) => Err(Failure::failed(format!("unhealthy: '{}'", line.trim_end()))),
        Ok(Err(error)) => Err(Failure::failed(format!("unhealthy: {error}"))),
        Err(_) => Err(Failure::failed(format!(
            "unhealthy: no answer within {DEADLINE:?}"
        ))),
    }
}

fn status_line(host: &str, port: u16) -> io::Result<String> {
    let mut stream = TcpStream::connect((host, port))?;
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut line = Vec::new();
    BufReader::new(stream)
        .take(STATUS_LINE_BYTES)
        .read_until(b'\n', &mut line)?;
    Ok(String::from_utf8_lossy(&line).into_owned())
}

fn is_ok(status_line: &str) -> bool {
    status_line.starts_with("HTTP/1.1 200 ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_200_is_healthy() {
        assert!(is_ok("HTTP/1.1 200 OK\r\n"));
        for line in [
            "HTTP/1.1 503 Service Unavailable\r\n",
            "",
            "HTTP/1.1 2000 OK",
            "SSH-2.0\r\n",
        ] {
            assert!(!is_ok(line), "{line}");
        }
    }
}
