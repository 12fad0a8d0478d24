//! Fetches a small document over https, in bounded time and memory.

use std::path::Path;
use std::time::Duration;

use ureq::Agent;

use crate::tls::{authorities, for_requests};

const TIMEOUT: Duration = Duration::from_secs(5);
const MAX_REDIRECTS: u32 = 3;

/// The error is one line for people.
pub(super) fn get(url: &str, ca_file: Option<&Path>, max_bytes: usize) -> Result<Vec<u8>, String> {
    // Read each time, so that a new file or a new authority of the system needs no restart.
    let authorities = authorities(ca_file)?;
    let config = Agent::config_builder()
        .tls_config(for_requests(&authorities))
        .https_only(true)
        .max_redirects(MAX_REDIRECTS)
        .max_idle_connections(0)
        .timeout_global(Some(TIMEOUT))
        .user_agent(concat!("threadcast/", env!("CARGO_PKG_VERSION")))
        .build();
    let fetched = Agent::new_with_config(config)
        .get(url)
        .call()
        .and_then(|response| {
            let body = response.into_body().into_with_config();
            body.limit(max_bytes as u64).read_to_vec()
        });
    fetched.map_err(|error| error.to_string().replace(char::is_control, " "))
}
