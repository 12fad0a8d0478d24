//! Which topic is selected, and the subscribers of the one that is open.

use threadcast::client::{Client, SubscriberList};

/// Who is subscribed to a topic, or why that is not known.
#[derive(Debug, Clone)]
pub(super) struct Listing {
    pub(super) topic: String,
    pub(super) subscribers: Result<SubscriberList, String>,
}

impl Listing {
    /// Requests at most `limit` subscribers.
    pub(super) fn take(client: &Client, topic: &str, limit: u64) -> Listing {
        let subscribers = client.subscribers(topic, limit);
        Listing {
            topic: topic.to_owned(),
            subscribers: subscribers.map_err(|error| error.to_string()),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Selection {
    selected: Option<String>,
    /// The topic whose subscribers are shown.
    open: Option<String>,
    listing: Option<Listing>,
}

impl Selection {
    pub(super) fn open_at(topic: Option<&str>) -> Selection {
        Selection {
            selected: topic.map(str::to_owned),
            open: topic.map(str::to_owned),
            listing: None,
        }
    }

    pub(super) fn selected(&self) -> Option<&str> {
        self.selected.as_deref()
    }

    pub(super) fn open(&self) -> Option<&str> {
        self.open.as_deref()
    }

    /// The subscribers of the open topic, once they are known.
    pub(super) fn listing(&self) -> Option<&Listing> {
        let listing = self.listing.as_ref();
        listing.filter(|listing| Some(listing.topic.as_str()) == self.open())
    }

    pub(super) fn take(&mut self, listing: Listing) {
        self.listing = Some(listing);
    }

    /// Selects another of the topics, which are in the order on the screen: the one this many lines below. Without a selection
    /// it is the first.
    pub(super) fn go(&mut self, topics: &[&str], lines: isize) {
        let at = self.selected().and_then(|selected| {
            let mut topics = topics.iter();
            topics.position(|topic| *topic == selected)
        });
        let next = at.map_or(0, |at| at.saturating_add_signed(lines));
        let last = topics.len().saturating_sub(1);
        self.selected = topics.get(next.min(last)).map(|topic| (*topic).to_owned());
        if self.open.is_some() {
            self.open.clone_from(&self.selected);
        }
    }

    pub(super) fn toggle(&mut self) {
        match self.open {
            Some(_) => self.open = None,
            None => self.open.clone_from(&self.selected),
        }
    }

    pub(super) fn close(&mut self) {
        self.open = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selection_moves_within_the_topics_and_an_open_topic_with_it() {
        let topics = ["a", "b", "c"];
        let mut selection = Selection::default();
        selection.toggle();
        assert_eq!(selection.open(), None, "nothing is selected");
        selection.go(&topics, 1);
        assert_eq!(selection.selected(), Some("a"));
        selection.go(&topics, -1);
        assert_eq!(selection.selected(), Some("a"));
        selection.toggle();
        selection.go(&topics, 1);
        assert_eq!(
            (selection.selected(), selection.open()),
            (Some("b"), Some("b"))
        );
        (0..3).for_each(|_| selection.go(&topics, 1));
        assert_eq!(selection.open(), Some("c"));
        selection.go(&["d"], 1);
        assert_eq!(selection.open(), Some("d"), "the other topics are gone");
        selection.go(&[], 1);
        assert_eq!((selection.selected(), selection.open()), (None, None));
    }

    #[test]
    fn subscribers_of_another_topic_are_not_shown() {
        let mut selection = Selection::open_at(Some("a"));
        let listing = |topic: &str| Listing {
            topic: topic.to_owned(),
            subscribers: Err("TOPIC_NOT_FOUND".to_owned()),
        };
        selection.take(listing("b"));
        assert!(selection.listing().is_none());
        selection.take(listing("a"));
        assert!(selection.listing().is_some());
        selection.close();
        assert!(selection.listing().is_none());
    }
}
