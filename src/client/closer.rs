//! Ending a subscription from another thread, whatever it is waiting for.

use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use parking_lot::Mutex;

/// Ends a [`Subscription`](super::Subscription) from another thread; made by
/// [`Subscription::closer`](super::Subscription::closer).
#[derive(Debug, Clone)]
pub struct Closer {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    /// Dropped by the call.
    call: Option<Sender<()>>,
    /// What the subscription may be reading from.
    stream: Option<Arc<TcpStream>>,
}

/// The subscription's side.
#[derive(Debug)]
pub(super) struct Stop {
    shared: Arc<Mutex<Shared>>,
    called: Receiver<()>,
}

impl Closer {
    /// Makes the subscription fail with [`Error::Closed`](super::Error::Closed) from its next call on, and wakes up
    /// the one it is in. Events that have arrived and were not taken are not handed out any more.
    pub fn close(&self) {
        let mut shared = self.shared.lock();
        shared.call = None;
        if let Some(stream) = shared.stream.take() {
            // Only reading ends: the goodbye is still to be written.
            let _ = stream.shutdown(Shutdown::Read);
        }
    }
}

impl Stop {
    pub(super) fn new() -> Stop {
        let (call, called) = bounded(0);
        let shared = Shared {
            call: Some(call),
            stream: None,
        };
        Stop {
            shared: Arc::new(Mutex::new(shared)),
            called,
        }
    }

    pub(super) fn closer(&self) -> Closer {
        Closer {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Readable, as an error, once it was called.
    pub(super) fn called(&self) -> &Receiver<()> {
        &self.called
    }

    pub(super) fn is_called(&self) -> bool {
        self.called.try_recv() == Err(TryRecvError::Disconnected)
    }

    pub(super) fn wait_until(&self, deadline: Instant) {
        let _ = self.called.recv_deadline(deadline);
    }

    /// From here on this is what the subscription may be reading from.
    pub(super) fn remember_stream(&self, stream: &Arc<TcpStream>) {
        let mut shared = self.shared.lock();
        match shared.call {
            Some(_) => shared.stream = Some(Arc::clone(stream)),
            None => drop(stream.shutdown(Shutdown::Read)),
        }
    }

    pub(super) fn forget_stream(&self) {
        self.shared.lock().stream = None;
    }
}
