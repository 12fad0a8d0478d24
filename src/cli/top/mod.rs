//! `threadcast top`: topics, rates, slow subscribers, and who is subscribed to a topic, updated on a terminal, or once as plain text.

mod figures;
mod keys;
mod sample;
mod screen;
mod selection;
mod tables;
mod view;
mod watch;

use std::io::{self, IsTerminal};
use std::thread;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use crossbeam_channel::{TryRecvError, bounded};
use threadcast::client::Client;

use super::error::CliError;
use super::output;
use super::server_args::ServerArgs;
use super::signals;
use super::value::{self, Seconds};
use keys::{Key, Keys};
use sample::{RateTable, Sample};
use screen::Screen;
use selection::{Listing, Selection};
use view::State;
use watch::Watch;

const EXAMPLES: &str = "Keys: n s r m h d sort the topics; up and down (or k and j) select one, Enter shows its subscribers, and once more
or Esc shows them no longer; q or Ctrl-C quits.

Examples:
  threadcast top                                      the server on this machine
  threadcast top --url ws://10.0.0.7:8080/ws --sort dropped --interval 5
  threadcast top --topic orders                       also who is subscribed to a topic
  threadcast top --once | head                        one plain table, rates over one interval

The key needs the right `admin`, and for the subscribers of a topic the right to subscribe to it. With several addresses it shows the server that answers.

Exit codes: 0 done, 1 the server is unreachable or refused at the start, 2 invalid command line.";

/// The most subscribers that the server lists.
const MAX_LISTED: u64 = 100_000;
/// How often to check for keys and a resized terminal.
const TICK: Duration = Duration::from_millis(100);

/// The order of the topics: largest first, names ascending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sort {
    /// By name
    Name,
    /// By subscriptions
    Subscribers,
    /// By messages per second
    Rate,
    /// By messages since the topic was created
    Messages,
    /// By bytes in the history
    History,
    /// By events skipped for slow subscribers
    Dropped,
}

/// What to show, and how often.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Top {
    /// Print one plain table and exit (default if standard output is not a terminal)
    #[arg(long)]
    once: bool,

    /// Interval of updates, over which rates are computed
    #[arg(long, value_name = "SECONDS", default_value_t = Seconds(Duration::from_secs(1)))]
    #[arg(value_parser = value::seconds(Duration::from_millis(100)..=Duration::from_secs(3600)))]
    interval: Seconds,

    /// Order of the topics
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = Sort::Rate)]
    sort: Sort,

    /// Show who is subscribed to this topic, too
    #[arg(long, value_name = "NAME")]
    topic: Option<String>,

    /// Maximum rows of each plain table
    #[arg(long, value_name = "N", default_value_t = 50)]
    #[arg(value_parser = value::number(1..=1_000_000_usize))]
    rows: usize,

    #[command(flatten)]
    server: ServerArgs,
}

/// Shows the live view until a key or a signal ends it, or one table.
pub(super) fn run(top: &Top) -> Result<(), CliError> {
    let client = top.server.connect()?;
    let first = Sample::take(&client)?;
    if top.once || !io::stdout().is_terminal() {
        return once(top, &client, &first);
    }
    live(top, client, first)
}

fn once(top: &Top, client: &Client, first: &Sample) -> Result<(), CliError> {
    thread::sleep(top.interval.0);
    let second = Sample::take(client)?;
    let rate_table = RateTable::between(first, &second);
    let listing = top.topic.as_ref().map(|topic| {
        let limit = u64::try_from(top.rows).unwrap_or(u64::MAX);
        Listing::take(client, topic, limit.min(MAX_LISTED))
    });
    let mut text = view::plain(&second, &rate_table, top.sort, top.rows);
    if let Some(listing) = listing {
        text.push_str(&view::plain_subscribers(&listing));
    }
    output::write(text).map(drop)
}

/// Installs the signal handler before it changes the terminal, so that a signal always restores the terminal.
fn live(top: &Top, client: Client, first: Sample) -> Result<(), CliError> {
    let (sender, quit) = bounded(1);
    signals::on_interrupt(move || {
        if sender.try_send(()).is_err() {
            std::process::exit(signals::INTERRUPTED);
        }
    })?;
    let selection = Selection::open_at(top.topic.as_deref());
    let mut state = State::new(first, top.sort, selection);
    let watch = Watch::start(client, top.interval.0)?;
    watch.open(state.open());
    let mut screen = Screen::enter().map_err(terminal)?;
    let mut keys = Keys::of_standard_input();
    let mut drawn = None;
    loop {
        let size = screen.size();
        let age = state.seconds_behind(top.interval.0);
        if drawn != Some((size, state.version(), age)) {
            screen.draw(&state.lines(size, age)).map_err(terminal)?;
            drawn = Some((size, state.version(), age));
        }
        let until = Instant::now() + TICK;
        match keys.next(TICK).map_err(terminal)? {
            Some(Key::Quit) => return Ok(()),
            Some(key) => {
                let before = state.open().map(str::to_owned);
                state.press(key);
                if state.open() != before.as_deref() {
                    watch.open(state.open());
                }
            }
            None => {}
        }
        while let Some(answer) = watch.answer() {
            state.take(answer);
        }
        match quit.try_recv() {
            Err(TryRecvError::Empty) => {}
            _ => return Ok(()),
        }
        if !keys.exist() {
            thread::sleep(until.saturating_duration_since(Instant::now()));
        }
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn terminal(error: io::Error) -> CliError {
    CliError::failed(format!("terminal: {error}"))
}
