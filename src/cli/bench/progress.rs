//! A progress bar on standard error, if that is a terminal.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// The bar of one scene. Removed from the screen when dropped.
#[derive(Debug)]
pub(super) struct Progress(Option<ProgressBar>);

impl Progress {
    /// Of `length` steps.
    pub(super) fn new(scene: &'static str, length: u64) -> Progress {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(length).with_message(scene);
            match ProgressStyle::with_template("{msg:<12} {bar:40} {percent:>3} %") {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        Progress(bar)
    }

    pub(super) fn set(&self, steps: u64) {
        if let Some(bar) = &self.0 {
            bar.set_position(steps);
        }
    }

    pub(super) fn set_time(&self, time: Duration) {
        self.set(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
