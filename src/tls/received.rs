//! Decrypts received bytes, and keeps what nobody has read. No I/O.

use std::io::{self, ErrorKind, Read};

use rustls::{ConnectionCommon, SideData};

/// The most plaintext in one record (RFC 8446 §5.1).
pub(crate) const RECORD_BYTES: usize = 16 << 10;
/// The memory for decrypted bytes that a connection keeps while it waits.
const KEPT_BYTES: usize = 1 << 10;

/// Decrypted bytes that nobody has read.
#[derive(Debug, Default)]
pub(crate) struct Received {
    bytes: Vec<u8>,
    /// How many of them were read.
    read: usize,
    /// Nothing follows them.
    pub(crate) end: Option<End>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The peer has closed its side.
    Closed,
    /// What the peer sent is no TLS.
    Broken,
}

impl Received {
    /// Decrypts what was received; nothing is the end of the stream. `send_own` sends what TLS itself has to say: an alert, or an
    /// answer to new keys.
    pub(crate) fn accept<S: SideData>(
        &mut self,
        tls: &mut ConnectionCommon<S>,
        mut received: &[u8],
        mut send_own: impl FnMut(&mut ConnectionCommon<S>),
    ) -> io::Result<()> {
        if received.is_empty() {
            self.end.get_or_insert(End::Closed);
        }
        while !received.is_empty() {
            tls.read_tls(&mut received)?;
            let processed = tls.process_new_packets();
            send_own(tls);
            let state = processed.map_err(|error| {
                self.end = Some(End::Broken);
                io::Error::new(ErrorKind::InvalidData, error)
            })?;
            let before = self.bytes.len();
            self.bytes
                .resize(before + state.plaintext_bytes_to_read(), 0);
            tls.reader().read_exact(&mut self.bytes[before..])?;
            if state.peer_has_closed() {
                self.end = Some(End::Closed);
                return Ok(());
            }
        }
        Ok(())
    }

    pub(crate) fn unread(&self) -> &[u8] {
        &self.bytes[self.read..]
    }

    /// Reads what is there. 0 is the end of the stream; `None` if nothing is there yet.
    pub(crate) fn take(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let unread = self.unread();
        let count = unread.len().min(buffer.len());
        if unread.is_empty() {
            return match self.end {
                None => Ok(None),
                Some(End::Closed) => Ok(Some(0)),
                Some(End::Broken) => Err(ErrorKind::InvalidData.into()),
            };
        }
        buffer[..count].copy_from_slice(&unread[..count]);
        self.read += count;
        if self.read == self.bytes.len() {
            self.read = 0;
            self.bytes.clear();
            self.bytes.shrink_to(KEPT_BYTES);
        }
        Ok(Some(count))
    }
}
