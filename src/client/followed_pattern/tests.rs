//! The pattern against a model of the server.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::client::GapReason;

const NAMES: [&str; 3] = ["t.a", "t.b", "t.c"];

const SUBSCRIBER: SubscriberFields<'_> = SubscriberFields {
    client_id: "c",
    presence: false,
    request_id: "0.0",
};

#[derive(Debug, Clone)]
enum Step {
    Create(usize),
    Publish(usize),
    Delete(usize),
    Disconnect,
    Connect,
}

fn step() -> impl Strategy<Value = Step> {
    let topic = 0..NAMES.len();
    prop_oneof![
        2 => topic.clone().prop_map(Step::Create),
        4 => topic.clone().prop_map(Step::Publish),
        1 => topic.prop_map(Step::Delete),
        1 => Just(Step::Disconnect),
        2 => Just(Step::Connect),
    ]
}

/// A server that keeps all events, and what its client has got.
struct Model {
    topics: BTreeMap<&'static str, Position>,
    epochs: u64,
    is_connected: bool,
    client: FollowedPattern,
    joined: u64,
    deleted: u64,
}

impl Model {
    fn new() -> Model {
        let pattern = TopicPattern::new("t.*").unwrap();
        Model {
            topics: BTreeMap::new(),
            epochs: 0,
            is_connected: false,
            client: FollowedPattern::new(pattern, PatternStart::Now).unwrap(),
            joined: 0,
            deleted: 0,
        }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Create(n) if !self.topics.contains_key(NAMES[n]) => {
                self.epochs += 1;
                let epoch = self.epochs.to_string().into();
                self.topics.insert(NAMES[n], Position { seq: 0, epoch });
                if self.is_connected {
                    self.subscribed(NAMES[n], None);
                }
            }
            Step::Publish(n) => {
                if let Some(position) = self.topics.get_mut(NAMES[n]) {
                    position.seq += 1;
                    let seq = position.seq;
                    if self.is_connected {
                        self.event(NAMES[n], seq);
                    }
                }
            }
            Step::Delete(n) => {
                if self.topics.remove(NAMES[n]).is_some() && self.is_connected {
                    self.deleted(NAMES[n]);
                }
            }
            Step::Disconnect => {
                self.is_connected = false;
                self.client.phase.on_disconnect();
                self.client.end_topics();
            }
            Step::Connect if !self.is_connected => self.connect(),
            Step::Create(_) | Step::Connect => {}
        }
    }

    fn connect(&mut self) {
        self.is_connected = true;
        let request = self.client.subscribe_request(SUBSCRIBER).unwrap();
        let request: Value = serde_json::from_str(&request).unwrap();
        self.client.on_ack();
        let positions = request.get("positions").cloned();
        let positions = positions.map(|value| serde_json::from_value::<Positions>(value).unwrap());
        for name in positions.iter().flat_map(Positions::keys) {
            if !self.topics.contains_key(name.as_str()) {
                self.deleted(name);
            }
        }
        for (name, newest) in self.topics.clone() {
            let Some(positions) = &positions else {
                self.subscribed(name, None);
                continue;
            };
            let from = match positions.get(name) {
                Some(known) if known.epoch != newest.epoch => {
                    self.subscribed(name, Some(false));
                    self.epoch_changed(name);
                    0
                }
                known => {
                    self.subscribed(name, Some(true));
                    known.map_or(0, |known| known.seq)
                }
            };
            (from + 1..=newest.seq).for_each(|seq| self.event(name, seq));
        }
    }

    fn subscribed(&mut self, name: &str, recovered: Option<bool>) {
        let is_new = !self.client.delivered.contains_key(name);
        let Position { seq, epoch } = self.topics[name].clone();
        let epoch = &epoch;
        let ack = StartAck {
            seq,
            epoch,
            recovered,
        };
        let changes = self.client.on_subscribed(name, &ack).unwrap();
        assert_eq!(changes.len(), usize::from(is_new), "{changes:?}");
        for change in changes {
            let TopicChange::Joined { position, .. } = &change else {
                panic!("{change:?}")
            };
            self.joined += 1;
            let position = Some(position.clone());
            self.client.on_delivered(&Delivery::Topic(change), position);
        }
    }

    fn deleted(&mut self, name: &str) {
        let change = self.client.on_deleted(name).expect("it had joined");
        self.deleted += 1;
        self.client.on_delivered(&Delivery::Topic(change), None);
    }

    fn epoch_changed(&mut self, name: &str) {
        let gap = Gap::new(name, None, GapReason::EpochChanged);
        let (_, position) = self.client.on_gap(&gap, None).unwrap().unwrap();
        self.client.on_delivered(&Delivery::Gap(gap), position);
    }

    fn event(&mut self, name: &str, seq: u64) {
        let (_, position) = self.client.on_event(name, seq).unwrap().unwrap();
        // Which delivery has moved the position does not matter here.
        let moved = Gap::new(name, Some((seq, seq)), GapReason::SlowConsumer);
        self.client.on_delivered(&Delivery::Gap(moved), position);
    }
}

proptest! {
    #[test]
    fn client_has_the_positions_of_the_server_and_takes_no_other_event(
        steps in proptest::collection::vec(step(), 0..60)
    ) {
        let mut model = Model::new();
        for step in steps {
            model.take(&step);
            if !model.is_connected {
                continue;
            }
            let expected: Positions = model.topics.iter().map(|(name, position)| ((*name).to_owned(), position.clone())).collect();
            prop_assert_eq!(&model.client.delivered, &expected);
            prop_assert_eq!(model.joined - model.deleted, expected.len() as u64);
            for (name, Position { seq, .. }) in &expected {
                prop_assert!(model.client.clone().on_event(name, *seq).is_err());
                prop_assert!(model.client.clone().on_event(name, seq + 2).is_err());
            }
        }
    }
}
