//! `threadcast top`: what goes on in a server, on a terminal each second anew, or once as plain text.

mod keys;
mod sample;
mod screen;
mod view;
mod watch;

use std::io::{self, IsTerminal};
use std::thread;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use crossbeam_channel::{TryRecvError, bounded};
use threadcast::client::Client;

use super::failure::Failure;
use super::output;
use super::reach::{Reach, failure};
use super::signals;
use super::value::{self, Seconds};
use keys::{Key, Keys};
use sample::{Movement, Sample};
use screen::Screen;
use view::State;
use watch::Watch;

const EXAMPLES: &str = "Keys: n s r m h d choose what the topics are sorted by; q or Ctrl-C quits.

Examples:
  threadcast top                                      the server of this machine
  threadcast top --url ws://10.0.0.7:8080/ws --sort dropped --interval 5
  threadcast top --once | head                        one plain table, rates over one interval

A key needs the right `admin` for it.

Exit codes: 0 done, 1 the server is not there or said no at the start, 2 the command line is wrong.";

/// How long a key may wait to be heeded, and a terminal that was resized to be filled.
const TICK: Duration = Duration::from_millis(100);

/// What the topics are sorted by; the largest is first, names go from A to Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sort {
    /// By name
    Name,
    /// By subscriptions
    Subscribers,
    /// By messages a second
    Rate,
    /// By messages since the topic was made
    Messages,
    /// By bytes in the history
    History,
    /// By events skipped for slow subscribers
    Dropped,
}

/// What is shown, and how often anew.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Top {
    /// Print one plain table and exit; so does a standard output that is no terminal
    #[arg(long)]
    once: bool,

    /// How often it is looked, and over what time rates are taken
    #[arg(long, value_name = "SECONDS", default_value_t = Seconds(Duration::from_secs(1)))]
    #[arg(value_parser = value::seconds(Duration::from_millis(100)..=Duration::from_secs(3600)))]
    interval: Seconds,

    /// What the topics are sorted by
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = Sort::Rate)]
    sort: Sort,

    /// Most topics, and most subscriptions, of the plain table
    #[arg(long, value_name = "N", default_value_t = 50)]
    #[arg(value_parser = value::number(1..=1_000_000_usize))]
    rows: usize,

    #[command(flatten)]
    reach: Reach,
}

/// Shows it until a key or a signal, or once.
pub(super) fn run(top: &Top) -> Result<(), Failure> {
    let client = top.reach.connect()?;
    let first = Sample::take(&client).map_err(failure)?;
    if top.once || !io::stdout().is_terminal() {
        return once(top, &client, &first);
    }
    live(top, client, first)
}

fn once(top: &Top, client: &Client, first: &Sample) -> Result<(), Failure> {
    thread::sleep(top.interval.0);
    let second = Sample::take(client).map_err(failure)?;
    let movement = Movement::between(first, &second);
    let url = top.reach.url()?;
    output::write(view::plain(&url, &second, &movement, top.sort, top.rows)).map(drop)
}

/// The first thing is to listen to signals, so that none of them finds the terminal changed and nobody to change it back.
fn live(top: &Top, client: Client, first: Sample) -> Result<(), Failure> {
    let (ask, asked) = bounded(1);
    signals::on_interrupt(move || {
        if ask.try_send(()).is_err() {
            std::process::exit(signals::INTERRUPTED);
        }
    })?;
    let mut state = State::new(top.reach.url()?, first, top.sort);
    let watch = Watch::start(client, top.interval.0)?;
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
            Some(Key::Sort(sort)) => state.sort(sort),
            None => {}
        }
        while let Some(answer) = watch.answer() {
            state.take(answer);
        }
        match asked.try_recv() {
            Err(TryRecvError::Empty) => {}
            _ => return Ok(()),
        }
        if !keys.are_there() {
            thread::sleep(until.saturating_duration_since(Instant::now()));
        }
    }
}

#[allow(clippy::needless_pass_by_value, reason = "as map_err gives it")]
fn terminal(error: io::Error) -> Failure {
    Failure::failed(format!("terminal: {error}"))
}
