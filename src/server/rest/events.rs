//! `GET /topics/{name}/events`: what the request for an event stream says. The stream itself is in `server/event_stream`.

use uuid::Uuid;

use super::problems;
use super::query::{Parameters, repeated, unknown, whole_number};
use crate::protocol::{ClientId, StartAt, Subscribe, TopicName};
use crate::server::http::head::Head;
use crate::server::http::{Problem, target};

/// The header that an `EventSource` sends when it comes back: the last `id` that it received.
const LAST_EVENT_ID: &str = "last-event-id";
/// The longest epoch that is looked at. Those of this server are shorter.
const MAX_EPOCH_BYTES: usize = 128;

/// The topic, the subscriber and the position of an event stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EventsQuery {
    pub(crate) topic: TopicName,
    client_id: Option<ClientId>,
    start_at: StartAt,
    /// The position is that of the header, so that an error can name it.
    pub(crate) has_last_event_id: bool,
}

impl EventsQuery {
    /// Reads the query and the header `Last-Event-ID`, which wins over the position in the query.
    pub(in crate::server) fn read(topic: TopicName, head: &Head) -> Result<EventsQuery, Problem> {
        let mut position = Parameters::default();
        let mut client_id = None;
        let query = head.query.as_deref().unwrap_or_default();
        for (name, value) in target::query_pairs(query).map_err(problems::malformed_query)? {
            match name.as_str() {
                // Checked with the other credentials.
                "token" => {}
                "client_id" => {
                    let id = ClientId::new(&value).map_err(problems::invalid)?;
                    if client_id.replace(id).is_some() {
                        return Err(repeated("client_id"));
                    }
                }
                "last_n" | "after_seq" | "epoch" => position.set(&name, value)?,
                _ => return Err(unknown(&name)),
            }
        }
        let in_query = position.start_at()?;
        let last_event_id = read_last_event_id(head)?;
        Ok(EventsQuery {
            topic,
            client_id,
            has_last_event_id: last_event_id.is_some(),
            start_at: last_event_id.or(in_query).unwrap_or(StartAt::Last(0)),
        })
    }

    /// The subscribe that the stream begins with. A subscriber without a name gets one that no other has.
    pub(crate) fn subscribe(&self) -> Result<Subscribe, Problem> {
        let client_id = match &self.client_id {
            Some(client_id) => client_id.clone(),
            None => {
                let name = format!("sse-{}", Uuid::new_v4().simple());
                ClientId::new(&name).map_err(problems::invalid)?
            }
        };
        Ok(Subscribe {
            topic: self.topic.clone(),
            client_id,
            start_at: self.start_at.clone(),
            presence: false,
        })
    }
}

/// `<epoch>:<seq>`.
fn read_last_event_id(head: &Head) -> Result<Option<StartAt>, Problem> {
    let malformed = || problems::invalid("Last-Event-ID must be <epoch>:<seq>");
    let mut values = head.values(LAST_EVENT_ID);
    let Some(id) = values.next() else {
        return Ok(None);
    };
    let (epoch, seq) = id.split_once(':').ok_or_else(malformed)?;
    let is_epoch = (1..=MAX_EPOCH_BYTES).contains(&epoch.len())
        && epoch.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_epoch || values.next().is_some() {
        return Err(malformed());
    }
    let seq = whole_number("seq", seq).map_err(|_| malformed())?;
    let epoch = Some(epoch.to_owned());
    Ok(Some(StartAt::After { seq, epoch }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::http::head;

    fn read(query: &str, fields: &str) -> Result<EventsQuery, Problem> {
        let text = format!("GET /topics/t/events{query} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let (head, _) = head::parse(text.as_bytes()).unwrap().unwrap();
        EventsQuery::read(TopicName::new("t").unwrap(), &head)
    }

    fn after(seq: u64, epoch: Option<&str>) -> StartAt {
        let epoch = epoch.map(str::to_owned);
        StartAt::After { seq, epoch }
    }

    #[test]
    fn last_event_id_wins_over_the_query() {
        let header = "Last-Event-ID: e:7\r\n";
        for (query, fields, expected) in [
            ("", "", StartAt::Last(0)),
            ("?last_n=3&token=secret", "", StartAt::Last(3)),
            ("?after_seq=4&epoch=e", "", after(4, Some("e"))),
            ("?after_seq=4", "", after(4, None)),
            ("", header, after(7, Some("e"))),
            ("?last_n=3", header, after(7, Some("e"))),
            (
                "?after_seq=4&epoch=x",
                "last-event-id:  e:007 \r\n",
                after(7, Some("e")),
            ),
            (
                "",
                "Last-Event-ID: e:99999999999999999999\r\n",
                after(u64::MAX, Some("e")),
            ),
        ] {
            assert_eq!(
                read(query, fields).unwrap().start_at,
                expected,
                "{query} {fields}"
            );
        }
    }

    #[test]
    fn a_subscriber_without_a_name_gets_one_of_its_own() {
        let name = |query| read(query, "").unwrap().subscribe().unwrap().client_id;
        assert_eq!(name("?client_id=a%20b").as_str(), "a b");
        assert_ne!(name(""), name(""));
        assert!(name("").as_str().starts_with("sse-"));
    }

    #[test]
    fn what_is_wrong_is_refused_and_named() {
        let long = "x".repeat(129);
        for (query, fields, detail) in [
            (
                "?client_id=",
                "",
                "client_id must be a string of 1 to 128 characters",
            ),
            (
                &*format!("?client_id={long}"),
                "",
                "client_id must be a string of 1 to 128 characters",
            ),
            (
                "?client_id=a&client_id=a",
                "",
                "query parameter 'client_id' appears twice",
            ),
            ("?last_n=x", "", "last_n must be an integer of at least 0"),
            (
                "?last_n=1&after_seq=1",
                "",
                "after_seq and last_n exclude each other",
            ),
            (
                "?epoch=e",
                "Last-Event-ID: e:1\r\n",
                "epoch needs after_seq",
            ),
            ("?presence=true", "", "unknown query parameter 'presence'"),
            (
                "?last_n=1&last_n=1",
                "",
                "query parameter 'last_n' appears twice",
            ),
        ] {
            let problem = read(query, fields).unwrap_err();
            assert_eq!((problem.status, &*problem.detail), (422, detail), "{query}");
        }
        for id in [
            "",
            "7",
            ":",
            ":7",
            "e:",
            "e:x",
            "e:-1",
            "e:+1",
            "e:1:2",
            "e e:1",
            "e:1 2",
            "é:1",
            "e:1.0",
            &format!("{long}:1"),
            "e:1\r\nLast-Event-ID: e:1",
        ] {
            let problem = read("", &format!("Last-Event-ID: {id}\r\n")).unwrap_err();
            let expected = (422, "Last-Event-ID must be <epoch>:<seq>");
            assert_eq!((problem.status, &*problem.detail), expected, "{id}");
        }
    }
}
