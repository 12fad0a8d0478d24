//! The thread that looks for new files of the certificate.

use std::io;
use std::time::Duration;

use super::certificate::Certificate;
use crate::server::panics::Panics;
use crate::sync::Arc;
use crate::sync::channel::{RecvTimeoutError, Sender, bounded};
use crate::sync::thread::{self, JoinHandle};

/// Within five seconds a change is seen, also one that is made in two steps.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
const STACK_BYTES: usize = 128 << 10;

/// Dropping this ends the thread.
pub(crate) struct CertificateWatch {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl CertificateWatch {
    pub(crate) fn start(
        certificate: &Arc<Certificate>,
        panics: &Panics,
    ) -> io::Result<CertificateWatch> {
        let (stop, stopped) = bounded::<()>(0);
        let (certificate, panics) = (Arc::clone(certificate), panics.clone());
        let run = move || {
            while stopped.recv_timeout(LOOK_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                panics.catch(|| look(&certificate));
            }
        };
        let builder = thread::Builder::new().name("certificate".to_owned());
        Ok(CertificateWatch {
            stop: Some(stop),
            thread: Some(builder.stack_size(STACK_BYTES).spawn(run)?),
        })
    }
}

impl Drop for CertificateWatch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn look(certificate: &Certificate) {
    match certificate.reload_if_changed() {
        Ok(true) => tracing::info!("the certificate was read again"),
        Ok(false) => {}
        Err(error) => {
            tracing::warn!(%error, "the certificate was not read again; the old one stays");
        }
    }
}
