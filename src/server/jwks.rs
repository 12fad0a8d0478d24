//! The thread `jwks`, which fetches the public keys of tokens from a URL. It runs only where one is configured.

use std::io;

use super::panics::Panics;
use crate::access::{Guard, Outcome, Refresh, Verifier};
use crate::limited_log::{LimitedLog, limited};
use crate::metrics::SharedMetrics;
use crate::sync::Arc;
use crate::sync::thread::{self, JoinHandle};

/// Certificates are checked on it.
const STACK_BYTES: usize = 512 << 10;

/// Dropping this ends the thread. A fetch that is under way ends first, which takes a few seconds at most.
pub(super) struct JwksThread {
    guard: Arc<Guard>,
    thread: Option<JoinHandle<()>>,
}

impl JwksThread {
    pub(super) fn start(
        guard: &Arc<Guard>,
        metrics: &SharedMetrics,
        panics: &Panics,
    ) -> io::Result<JwksThread> {
        let has_url = refresh(guard).is_some();
        let thread = has_url.then(|| {
            let (guard, metrics) = (Arc::clone(guard), SharedMetrics::clone(metrics));
            let panics = panics.clone();
            let builder = thread::Builder::new().name("jwks".to_owned());
            builder
                .stack_size(STACK_BYTES)
                // After a panic it goes on with the next fetch.
                .spawn(move || while panics.catch(|| run(&guard, &metrics)).is_none() {})
        });
        Ok(JwksThread {
            guard: Arc::clone(guard),
            thread: thread.transpose()?,
        })
    }

    /// Lets no further fetch begin, and nobody wait for one.
    pub(super) fn stop(&self) {
        if let Some((_, _, refresh)) = refresh(&self.guard) {
            refresh.stop();
        }
    }
}

impl Drop for JwksThread {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn refresh(guard: &Guard) -> Option<(&Verifier, &str, &Refresh)> {
    let tokens = guard.tokens()?;
    let (url, refresh) = tokens.refresh()?;
    Some((tokens, url, refresh))
}

fn run(guard: &Guard, metrics: &SharedMetrics) {
    let Some((tokens, url, refresh)) = refresh(guard) else {
        return;
    };
    let log = LimitedLog::new("fetches of the keys of tokens");
    refresh.run(|| match tokens.fetch(url) {
        Ok(keys) => {
            metrics.jwks_refreshes.count("ok");
            limited!(log, info, "the keys of tokens were fetched", url, keys);
            Outcome::Fetched
        }
        Err(error) => {
            metrics.jwks_refreshes.count("failed");
            limited!(log, warn, "the keys of tokens were not fetched: those that are known stay valid", url, %error);
            Outcome::Failed
        }
    });
}
