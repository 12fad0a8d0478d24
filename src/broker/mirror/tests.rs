use super::*;
use proptest::prelude::*;

fn epoch(letter: &str) -> EpochName {
    EpochName::parse(&letter.repeat(16)).unwrap()
}

fn entry(letter: &str, first: u64, count: u64, token: u64, previous: u64) -> Entry<'static> {
    Entry {
        epoch: epoch(letter),
        first,
        count,
        token: Token(token),
        previous: Token(previous),
        earliest: 0,
        events: &[],
    }
}

fn place(letter: &str, seq: u64, token: u64) -> Place {
    Place {
        epoch: epoch(letter),
        seq,
        token: Token(token),
    }
}

#[test]
fn an_entry_is_appended_only_if_number_and_token_fit() {
    let mut mirror = Mirror::new(place("a", 4, 40));
    for (entry, expected) in [
        (entry("a", 5, 2, 60, 40), Action::Append),
        (entry("a", 5, 2, 60, 41), Action::Read),
        (entry("a", 6, 1, 60, 40), Action::Read),
        (entry("a", 3, 2, 40, 20), Action::Ignore),
        (entry("a", 3, 2, 41, 20), Action::Read),
        (entry("a", 4, 2, 50, 30), Action::Read),
        (entry("a", 1, 1, 10, 0), Action::Ignore),
        (entry("b", 1, 3, 30, 0), Action::Read),
        (entry("b", 2, 1, 30, 0), Action::Read),
        (entry("b", 1, 1, 30, 9), Action::Read),
    ] {
        assert_eq!(mirror.judge(&entry), expected, "{entry:?}");
    }
    mirror.began(place("b", 0, 0));
    assert_eq!(mirror.judge(&entry("b", 1, 3, 30, 0)), Action::Append);
    assert_eq!(
        mirror.judge(&entry("a", 1, 3, 30, 0)),
        Action::Read,
        "an ended epoch"
    );
}

#[test]
fn a_snapshot_that_lacks_or_contradicts_the_mirror_is_a_loss() {
    let here = place("a", 4, 40);
    let compare = |there: Place, entries: &[Entry<'_>]| {
        here.compare(&Snapshot {
            place: there,
            entries,
        })
    };
    let whole = Comparison::Continues { is_whole: true };
    let cut = Comparison::Continues { is_whole: false };
    assert_eq!(compare(place("a", 4, 40), &[]), whole);
    assert_eq!(compare(place("a", 4, 41), &[]), Comparison::Lost);
    assert_eq!(compare(place("a", 3, 30), &[]), Comparison::Lost);
    assert_eq!(compare(place("b", 9, 90), &[]), Comparison::NewEpoch);
    let newer = place("a", 9, 90);
    for (entries, expected) in [
        (
            &[entry("a", 3, 2, 40, 20), entry("a", 5, 5, 90, 40)][..],
            &whole,
        ),
        (
            &[entry("a", 3, 2, 41, 20), entry("a", 5, 5, 90, 41)],
            &Comparison::Lost,
        ),
        (&[entry("a", 5, 5, 90, 40)], &whole),
        (&[entry("a", 5, 5, 90, 41)], &Comparison::Lost),
        (&[entry("a", 7, 3, 90, 60)], &cut),
        (
            &[entry("a", 3, 4, 60, 20), entry("a", 7, 3, 90, 60)],
            &Comparison::Lost,
        ),
        (&[], &cut),
    ] {
        assert_eq!(&compare(newer.clone(), entries), expected, "{entries:?}");
    }
}

/// A log as Redis keeps it: each entry has the seqs after the previous one, and a token of its own.
#[derive(Debug, Clone, Default)]
struct Naive {
    entries: Vec<(u64, u64, u64, u64)>,
}

impl Naive {
    fn head(&self) -> (u64, u64) {
        let newest = self.entries.last();
        newest.map_or((0, 0), |(first, count, token, _)| {
            (first + count - 1, *token)
        })
    }

    fn publish(&mut self, count: u64, token: u64) {
        let (seq, previous) = self.head();
        self.entries.push((seq + 1, count, token, previous));
    }

    fn entries(&self) -> Vec<Entry<'static>> {
        let entries = self.entries.iter();
        entries
            .map(|(first, count, token, previous)| entry("a", *first, *count, *token, *previous))
            .collect()
    }
}

proptest! {
    /// Whatever is lost, doubled or reordered on the way: what the mirror appends is a prefix of the log, and reading the
    /// stream completes it.
    #[test]
    fn the_mirror_is_always_a_prefix_of_the_log(
        counts in prop::collection::vec(1..5_u64, 1..30),
        arrivals in prop::collection::vec(any::<prop::sample::Index>(), 0..80),
    ) {
        let mut log = Naive::default();
        for (at, count) in counts.iter().enumerate() {
            log.publish(*count, at as u64 + 1);
        }
        let entries = log.entries();
        let mut mirror = Mirror::new(place("a", 0, 0));
        let mut appended = 0;
        for arrival in arrivals {
            let at = arrival.index(entries.len());
            match mirror.judge(&entries[at]) {
                Action::Append => {
                    prop_assert_eq!(at, appended);
                    mirror.appended(&entries[at]);
                    appended += 1;
                }
                Action::Ignore => prop_assert!(at < appended),
                Action::Read => prop_assert!(at > appended),
            }
        }
        let here = mirror.place().clone();
        let (seq, token) = log.head();
        let from = entries.iter().position(|entry| entry.last() >= here.seq).unwrap_or(0);
        let snapshot = Snapshot { place: place("a", seq, token), entries: &entries[from..] };
        prop_assert_eq!(here.compare(&snapshot), Comparison::Continues { is_whole: true });
        for entry in &entries[from..] {
            if mirror.judge(entry) == Action::Append {
                mirror.appended(entry);
            }
        }
        prop_assert_eq!(mirror.place(), &snapshot.place);
    }

    /// A Redis that lost acked entries and went on with others is never taken for a continuation.
    #[test]
    fn a_log_that_diverged_is_a_loss(
        common in 0..10_usize,
        lost in 1..10_u64,
        others in 0..20_u64,
    ) {
        let mut log = Naive::default();
        for at in 0..common {
            log.publish(1, at as u64 + 1);
        }
        let mut seen = log.clone();
        for at in 0..lost {
            seen.publish(1, 100 + at);
        }
        for at in 0..others {
            log.publish(1, 200 + at);
        }
        let (seq, token) = seen.head();
        let here = place("a", seq, token);
        let (seq, token) = log.head();
        let all = log.entries();
        let entries: Vec<_> = all.into_iter().filter(|entry| entry.last() >= here.seq).collect();
        let snapshot = Snapshot { place: place("a", seq, token), entries: &entries };
        prop_assert_eq!(here.compare(&snapshot), Comparison::Lost);
        let mut mirror = Mirror::new(here);
        mirror.recent.clear();
        for (first, count, token, _) in &seen.entries {
            mirror.recent.push_back((first + count - 1, Token(*token)));
        }
        for entry in log.entries().iter().skip(common) {
            prop_assert_eq!(mirror.judge(entry), Action::Read);
        }
    }
}
