//! Who is connected, told to the API: copies of handles under the lock, figures without it.

use std::net::Shutdown;
use std::sync::atomic::Ordering;

use super::{Connections, Live};
use crate::limited_log::limited;
use crate::metrics::Protocol;
use crate::server::connection_info::ConnectionInfo;
use crate::server::rest::{Connected, ConnectionLine};
use crate::server::websocket::{Connection, EndReason};
use crate::sync::Arc;

/// A connection to look at once the list is let go.
type Handle = (Arc<ConnectionInfo>, Option<Arc<Connection>>);

impl Connected for Connections {
    fn count(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    fn size(&self, limit: usize) -> (usize, usize) {
        let (_, handles) = self.handles(limit);
        let websockets = handles
            .iter()
            .filter_map(|(_, websocket)| websocket.as_ref());
        let subscriptions = websockets.map(|websocket| websocket.subscription_count());
        (handles.len(), subscriptions.sum())
    }

    fn list(&self, limit: usize) -> (usize, Vec<ConnectionLine>) {
        let (total, handles) = self.handles(limit);
        let lines = handles.iter().map(line).collect();
        (total, lines)
    }

    /// A WebSocket gets its close frame. Of an HTTP connection the answer under way is the last: it is sent, also when it
    /// answers this very request.
    fn close(&self, id: u64) -> bool {
        let live = self.live.lock();
        let Some(found) = live.get(&id) else {
            return false;
        };
        let peer = found.info.client();
        limited!(self.closed_log, info, "closed by an administrator", connection = id, %peer);
        match found.websocket.clone() {
            Some(websocket) => {
                drop(live);
                websocket.end(EndReason::Administrator);
            }
            None => {
                found.info.close();
                found.transport.shutdown(Shutdown::Read);
            }
        }
        true
    }
}

impl Connections {
    /// How many there are, and the first of them by id.
    fn handles(&self, limit: usize) -> (usize, Vec<Handle>) {
        let live = self.live.lock();
        let handle = |live: &Live| (Arc::clone(&live.info), live.websocket.clone());
        let handles = live.values().take(limit).map(handle).collect();
        (live.len(), handles)
    }
}

fn protocol(websocket: Option<&Connection>) -> Protocol {
    websocket.map_or(Protocol::Http, |websocket| websocket.protocol())
}

fn line((info, websocket): &Handle) -> ConnectionLine {
    ConnectionLine {
        id: info.id,
        protocol: protocol(websocket.as_deref()).as_str(),
        address: info.client(),
        key: info.key(),
        user: info.user(),
        uptime_sec: info.uptime().as_secs(),
        idle_sec: info.idle().as_secs(),
        pending_bytes: websocket
            .as_ref()
            .map_or(0, |websocket| websocket.pending_bytes()),
        subscriptions: websocket
            .as_ref()
            .map_or_else(Vec::new, |websocket| websocket.subscriptions()),
    }
}
