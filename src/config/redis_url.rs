//! The address of a Redis: a URL whose passwords are never shown.

use std::fmt;

use ::redis::{IntoConnectionInfo, parse_redis_url};

const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// Where a Redis is, or who knows it:
/// - `redis://[user:password@]host[:port][/database]`;
/// - `redis+sentinel://[user:password@]host[:port][,host[:port]...]/master[/database]`: the hosts are Sentinels, which name
///   the address of the master. User and password are those of the master; those of the Sentinels follow as
///   `?sentinel_user=...&sentinel_password=...`.
///
/// `rediss` instead of `redis` is TLS, to the Sentinels, too.
///
/// ```
/// use threadcast::config::RedisUrl;
///
/// let url = RedisUrl::new("redis://:secret@redis.example").unwrap();
/// assert_eq!(url.to_string(), "redis://***@redis.example");
/// let url = RedisUrl::new("rediss+sentinel://a.example,b.example:26380/mymaster").unwrap();
/// assert_eq!(url.to_string(), "rediss+sentinel://a.example,b.example:26380/mymaster");
/// assert_eq!(RedisUrl::new("http://redis.example"), None);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    /// Without what is secret.
    shown: String,
    pub(crate) has_tls: bool,
    /// The Redis, or its Sentinels.
    pub(crate) hosts: Vec<Host>,
    /// The name that the Sentinels know.
    pub(crate) master: Option<String>,
    pub(crate) database: i64,
    pub(crate) login: Login,
    pub(crate) sentinel_login: Login,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) port: u16,
}

/// Never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
}

impl RedisUrl {
    /// `None` if the text is no such URL.
    #[must_use]
    pub fn new(text: &str) -> Option<RedisUrl> {
        let (scheme, rest) = text.split_once("://")?;
        let (has_tls, has_sentinels) = match scheme {
            "redis" => (false, false),
            "rediss" => (true, false),
            "redis+sentinel" => (false, true),
            "rediss+sentinel" => (true, true),
            _ => return None,
        };
        let (rest, query) = split(rest, '?');
        let (authority, path) = split(rest, '/');
        let (login, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (master, database) = match has_sentinels {
            true => path.split_once('/').unwrap_or((path, "")),
            false => ("", path),
        };
        let is_valid = match has_sentinels {
            true => is_master(master),
            false => query.is_empty() && !hosts.contains(','),
        };
        let default_port = match has_sentinels {
            true => SENTINEL_PORT,
            false => REDIS_PORT,
        };
        let each = hosts.split(',').map(|host| Host::new(host, default_port));
        let url = RedisUrl {
            shown: shown(scheme, login, hosts, path, query),
            has_tls,
            hosts: each.collect::<Option<_>>()?,
            master: has_sentinels.then(|| master.to_owned()),
            database: Login::parse("", database)?.1,
            login: Login::parse(login, "")?.0,
            sentinel_login: Login::in_query(query)?,
        };
        is_valid.then_some(url)
    }

    /// Reads URLs that are separated by commas. A part without `://` is one more host of the URL before it. `None` if one of
    /// them is no such URL.
    #[must_use]
    pub fn list(text: &str) -> Option<Vec<RedisUrl>> {
        let mut urls: Vec<String> = Vec::new();
        for part in text.split(',').map(str::trim) {
            match urls.last_mut() {
                Some(url) if !part.contains("://") => *url = format!("{url},{part}"),
                _ => urls.push(part.to_owned()),
            }
        }
        urls.iter().map(|url| RedisUrl::new(url)).collect()
    }
}

impl Host {
    fn new(text: &str, default_port: u16) -> Option<Host> {
        let is_plain = !text.is_empty() && !text.contains([';', '%', '#']);
        let url = parse_redis_url(&format!("redis://{text}")).filter(|_| is_plain)?;
        let port = url.port().unwrap_or(default_port);
        match url.into_connection_info().ok()?.addr() {
            ::redis::ConnectionAddr::Tcp(name, _) if !name.is_empty() => Some(Host {
                name: name.clone(),
                port,
            }),
            _ => None,
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.contains(':') {
            true => write!(f, "[{}]:{}", self.name, self.port),
            false => write!(f, "{}:{}", self.name, self.port),
        }
    }
}

impl Login {
    /// Reads `user:password`, percent-encoded, and the number of a database.
    fn parse(login: &str, database: &str) -> Option<(Login, i64)> {
        if [login, database]
            .iter()
            .any(|text| text.contains(['/', '?', '#']))
        {
            return None;
        }
        let url = format!("redis://{login}@host/{database}");
        let info = url.into_connection_info().ok()?;
        let settings = info.redis_settings();
        let login = Login {
            user: settings.username().map(str::to_owned),
            password: settings.password().map(str::to_owned),
        };
        Some((login, settings.db()))
    }

    /// Reads `sentinel_user=user&sentinel_password=password`, percent-encoded.
    fn in_query(query: &str) -> Option<Login> {
        let (mut user, mut password) = ("", "");
        for part in query.split('&').filter(|part| !part.is_empty()) {
            match part.split_once('=')? {
                ("sentinel_user", value) => user = value,
                ("sentinel_password", value) => password = value,
                _ => return None,
            }
        }
        let is_plain = !user.contains([':', '@']) && !password.contains('@');
        let login = Login::parse(&format!("{user}:{password}"), "").filter(|_| is_plain)?;
        (user.is_empty() || !password.is_empty()).then_some(login.0)
    }
}

/// The text before and behind the first `separator`.
fn split(text: &str, separator: char) -> (&str, &str) {
    text.split_once(separator).unwrap_or((text, ""))
}

/// The rule of Sentinel for names of masters.
fn is_master(name: &str) -> bool {
    !name.is_empty() && is_plain(name)
}

fn is_plain(name: &str) -> bool {
    name.chars()
        .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

/// A URL without what is secret.
fn shown(scheme: &str, login: &str, hosts: &str, path: &str, query: &str) -> String {
    let login = if login.is_empty() { "" } else { "***@" };
    let path = if path.is_empty() {
        String::new()
    } else {
        format!("/{path}")
    };
    let query = if query.is_empty() { "" } else { "?***" };
    format!("{scheme}://{login}{hosts}{path}{query}")
}

/// Without users and passwords.
impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether a text can stand before the keys of a cluster.
pub(super) fn is_prefix(text: &str) -> bool {
    (1..=64).contains(&text.len()) && is_plain(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> RedisUrl {
        RedisUrl::new(text).unwrap_or_else(|| panic!("{text}"))
    }

    fn hosts(url: &RedisUrl) -> Vec<String> {
        url.hosts.iter().map(Host::to_string).collect()
    }

    #[test]
    fn a_url_is_valid_or_none() {
        for good in [
            "redis://127.0.0.1",
            "redis://redis.example:6380/2",
            "redis://redis.example/",
            "redis://user:p%40ss@[::1]:6379",
            "rediss://redis.example",
            "redis+sentinel://a/m",
            "redis+sentinel://a,b:1,[::1]:2/my-master.1_x/3",
            "rediss+sentinel://u:p@a/m?sentinel_password=x",
        ] {
            assert!(RedisUrl::new(good).is_some(), "{good}");
        }
        for wrong in [
            "",
            "redis",
            "redis://",
            "redis://:6379",
            "redis://user:password@",
            "http://a",
            "redis://a:port",
            "redis://a/x",
            "redis://a,b",
            "redis://a b",
            "redis://a?protocol=resp3",
            "rediss://a#insecure",
            "rediss://a/#insecure",
            "rediss://a/0#insecure",
            "valkey://a",
            "redis+unix:///tmp/socket",
            "sentinel://a/m",
            "redis+sentinel://a",
            "redis+sentinel://a/",
            "redis+sentinel:///m",
            "redis+sentinel://a,/m",
            "redis+sentinel://,a/m",
            "redis+sentinel://a,,b/m",
            "redis+sentinel://a;b/m",
            "redis+sentinel://u:p@/m",
            "redis+sentinel://a:port/m",
            "redis+sentinel://a/m/x",
            "redis+sentinel://a/m/1/2",
            "redis+sentinel://a/m m",
            "redis+sentinel://a/m%20m",
            "redis+sentinel://a/m?password=x",
            "redis+sentinel://a/m?sentinel_password",
            "redis+sentinel://a/m?sentinel_user=x",
            "redis+sentinel://a/m?sentinel_password=x@y",
            "redis+sentinel://a/m#insecure",
        ] {
            assert_eq!(RedisUrl::new(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_url_names_the_host_the_login_and_the_database() {
        let url = parsed("redis://user:p%40ss@redis.example:6380/2");
        assert_eq!(hosts(&url), ["redis.example:6380"]);
        assert_eq!((url.has_tls, &url.master, url.database), (false, &None, 2));
        assert_eq!(url.login.user.as_deref(), Some("user"));
        assert_eq!(url.login.password.as_deref(), Some("p@ss"));
        let url = parsed("rediss://[::1]");
        assert_eq!(hosts(&url), ["[::1]:6379"]);
        assert!(url.has_tls && url.login == Login::default() && url.database == 0);
    }

    #[test]
    fn a_url_with_sentinels_names_them_and_their_master() {
        let url = parsed(
            "rediss+sentinel://u:p@a,b:1,[::1]/mine/3?sentinel_user=s&sentinel_password=q%3Ar",
        );
        assert_eq!(hosts(&url), ["a:26379", "b:1", "[::1]:26379"]);
        assert_eq!(url.master.as_deref(), Some("mine"));
        assert!(url.has_tls && url.database == 3);
        let login = |login: &Login| (login.user.clone().unwrap(), login.password.clone().unwrap());
        assert_eq!(login(&url.login), ("u".to_owned(), "p".to_owned()));
        assert_eq!(
            login(&url.sentinel_login),
            ("s".to_owned(), "q:r".to_owned())
        );
        let url = parsed("redis+sentinel://a/m?sentinel_password=q");
        assert_eq!(url.sentinel_login.user, None);
        assert!(url.login == Login::default());
    }

    #[test]
    fn a_list_of_urls_takes_further_hosts_for_those_of_the_url_before() {
        let list = |text: &str| {
            let urls = RedisUrl::list(text)?;
            Some(urls.iter().map(RedisUrl::to_string).collect::<Vec<_>>())
        };
        let of = |urls: &[&str]| Some(urls.iter().map(|url| (*url).to_owned()).collect());
        assert_eq!(
            list("redis://a, rediss://b"),
            of(&["redis://a", "rediss://b"])
        );
        assert_eq!(
            list("redis+sentinel://a, b:1/m,redis+sentinel://c,d/n,redis://e"),
            of(&[
                "redis+sentinel://a,b:1/m",
                "redis+sentinel://c,d/n",
                "redis://e"
            ])
        );
        for wrong in [
            "",
            "a",
            "redis://a,b",
            "redis://a,",
            ",redis://a",
            "redis://a,http://b",
        ] {
            assert_eq!(list(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        for url in [
            "redis://user:hunter2@a:1/0",
            "redis://:hunter2@a",
            "rediss://:hunter2@a",
            "redis://u:hunter2@x@a",
            "redis+sentinel://:hunter2@a,b/m",
            "redis+sentinel://u:hunter2@x@a,b/m",
            "redis+sentinel://a,b/m?sentinel_password=hunter2",
            "redis+sentinel://u:p@a/m?sentinel_user=hunter2&sentinel_password=p",
        ] {
            let url = parsed(url);
            assert!(!format!("{url} {url:?}").contains("hunter2"), "{url}");
        }
    }

    #[test]
    fn a_prefix_is_short_and_plain() {
        for good in ["threadcast", "a", "A.b_c-9", &"x".repeat(64)] {
            assert!(is_prefix(good), "{good}");
        }
        for wrong in ["", "a b", "a:b", "a{b}", "ä", &"x".repeat(65)] {
            assert!(!is_prefix(wrong), "{wrong}");
        }
    }
}
