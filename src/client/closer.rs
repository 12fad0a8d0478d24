//! Closes a subscription from another thread.

use std::net::Shutdown;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use parking_lot::Mutex;

use super::stream::Stream;

/// Closes a [`Subscription`](super::Subscription) from another thread; made by
/// [`Subscription::closer`](super::Subscription::closer).
#[derive(Debug, Clone)]
pub struct Closer {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    /// Dropped by [`Closer::close`], which disconnects `closed`.
    open: Option<Sender<()>>,
    /// The stream that the subscription reads from.
    stream: Option<Arc<Stream>>,
}

/// The subscription's end of a [`Closer`].
#[derive(Debug)]
pub(super) struct CloseSignal {
    shared: Arc<Mutex<Shared>>,
    closed: Receiver<()>,
}

impl Closer {
    /// Makes every call of the subscription fail with [`Error::Closed`](super::Error::Closed), including a call that is
    /// waiting. Events that have arrived but are not received yet are dropped.
    pub fn close(&self) {
        let mut shared = self.shared.lock();
        shared.open = None;
        if let Some(stream) = shared.stream.take() {
            // The close frame is still to be written.
            stream.shutdown(Shutdown::Read);
        }
    }
}

impl CloseSignal {
    pub(super) fn new() -> CloseSignal {
        let (open, closed) = bounded(0);
        let shared = Shared {
            open: Some(open),
            stream: None,
        };
        CloseSignal {
            shared: Arc::new(Mutex::new(shared)),
            closed,
        }
    }

    pub(super) fn closer(&self) -> Closer {
        Closer {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Disconnected once the subscription is closed.
    pub(super) fn closed(&self) -> &Receiver<()> {
        &self.closed
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.try_recv() == Err(TryRecvError::Disconnected)
    }

    pub(super) fn wait_until(&self, deadline: Instant) {
        let _ = self.closed.recv_deadline(deadline);
    }

    /// Sets the stream that [`Closer::close`] shuts down.
    pub(super) fn set_stream(&self, stream: &Arc<Stream>) {
        let mut shared = self.shared.lock();
        match shared.open {
            Some(_) => shared.stream = Some(Arc::clone(stream)),
            None => stream.shutdown(Shutdown::Read),
        }
    }

    pub(super) fn clear_stream(&self) {
        self.shared.lock().stream = None;
    }
}
