//! The Sentinels of a master: they are asked for its address before each connect, and every few seconds whether it is still
//! the same one.

use std::collections::HashMap;
use std::time::Duration;

use ::redis::{Connection, cmd};

use crate::config::Host;

/// How long one Sentinel may take, to connect and for an answer.
pub(crate) const SENTINEL_TIMEOUT: Duration = Duration::from_millis(500);

pub(crate) struct Sentinels {
    master: String,
    hosts: Vec<Host>,
    /// Which one is asked whether the master is still the same, and the connection to it.
    asked: usize,
    connection: Option<Connection>,
}

impl Sentinels {
    pub(crate) fn new(master: &str, hosts: &[Host]) -> Sentinels {
        Sentinels {
            master: master.to_owned(),
            hosts: hosts.to_vec(),
            asked: 0,
            connection: None,
        }
    }

    /// The address that most Sentinels name: one that was away for some time may name an old one. The error is one line for
    /// people.
    pub(crate) fn master(
        &self,
        open: impl Fn(&Host) -> Result<Connection, String>,
    ) -> Result<Host, String> {
        let mut named = Vec::new();
        let mut reasons = Vec::new();
        for host in &self.hosts {
            match open(host).and_then(|mut connection| self.ask(&mut connection)) {
                Ok(master) => named.push(master),
                Err(reason) => reasons.push(format!("{host}: {reason}")),
            }
        }
        let none = || {
            let reasons = reasons.join("; ");
            format!("no Sentinel names the master {}: {reasons}", self.master)
        };
        most(&named).cloned().ok_or_else(none)
    }

    /// Asks one Sentinel whether the master is another one than this. One that does not answer is not asked the next time.
    pub(crate) fn may_have_changed(
        &mut self,
        current: &Host,
        open: impl Fn(&Host) -> Result<Connection, String>,
    ) -> bool {
        let connection = self.connection.take();
        let connection = connection.map_or_else(|| open(&self.hosts[self.asked]), Ok);
        let named = connection.and_then(|mut connection| {
            let named = self.ask(&mut connection)?;
            self.connection = Some(connection);
            Ok(named)
        });
        match named {
            Ok(named) => named != *current,
            Err(_) => {
                self.asked = (self.asked + 1) % self.hosts.len();
                false
            }
        }
    }

    fn ask(&self, connection: &mut Connection) -> Result<Host, String> {
        let mut ask = cmd("SENTINEL");
        ask.arg("get-master-addr-by-name").arg(&self.master);
        match ask.query::<Option<(String, u16)>>(connection) {
            Ok(Some((name, port))) => Ok(Host { name, port }),
            Ok(None) => Err("it does not know it".to_owned()),
            Err(error) if error.is_timeout() => Err("it does not answer in time".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// What is named most often; of several the one that is named first.
fn most(named: &[Host]) -> Option<&Host> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for host in named {
        *counts.entry(host.to_string()).or_default() += 1;
    }
    named
        .iter()
        .rev()
        .max_by_key(|host| counts[&host.to_string()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_most_sentinels_name_is_the_master() {
        let host = |name: &&str| Host {
            name: (*name).to_owned(),
            port: 6379,
        };
        for (named, expected) in [
            (vec![], None),
            (vec!["a"], Some("a")),
            (vec!["a", "b"], Some("a")),
            (vec!["a", "b", "b"], Some("b")),
            (vec!["b", "a", "b", "c", "c"], Some("b")),
        ] {
            let hosts: Vec<Host> = named.iter().map(host).collect();
            assert_eq!(
                most(&hosts),
                expected.as_ref().map(host).as_ref(),
                "{named:?}"
            );
        }
    }
}
