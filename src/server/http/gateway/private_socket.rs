//! The Unix socket on which tiny_http listens, hidden from everyone else.
//!
//! Owns its directory (mode 0700, under the directory for temporary files) and removes it: at once where `/proc` lets a
//! socket be reached through a descriptor, else when dropped.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use uuid::Uuid;

const SOCKET_NAME: &str = "rest";

#[derive(Debug)]
pub(super) struct PrivateSocket {
    address: PathBuf,
    /// Lets the socket be reached although its name is removed.
    _anchor: Option<File>,
    directory: Option<PathBuf>,
}

impl PrivateSocket {
    pub(super) fn open() -> io::Result<(PrivateSocket, UnixListener)> {
        let name = format!("threadcast-{}", Uuid::new_v4().simple());
        let directory = std::env::temp_dir().join(name);
        DirBuilder::new().mode(0o700).create(&directory)?;
        let mut socket = PrivateSocket {
            address: directory.join(SOCKET_NAME),
            _anchor: None,
            directory: Some(directory.clone()),
        };
        let listener = socket.bind(&directory)?;
        Ok((socket, listener))
    }

    pub(super) fn connect(&self) -> io::Result<UnixStream> {
        UnixStream::connect(&self.address)
    }

    /// Binds through the directory's descriptor where possible, because a long path does not fit into a socket address.
    fn bind(&mut self, directory: &Path) -> io::Result<UnixListener> {
        let handle = File::open(directory)?;
        let path = path_through(&handle).unwrap_or_else(|| directory.to_path_buf());
        let listener = UnixListener::bind(path.join(SOCKET_NAME))?;
        if let Some((anchor, address)) = anchor(&self.address) {
            self.address = address;
            self._anchor = Some(anchor);
            self.remove_directory();
        }
        Ok(listener)
    }

    fn remove_directory(&mut self) {
        if let Some(directory) = self.directory.take() {
            // Best effort: a name that stays does no harm.
            let _ = fs::remove_file(directory.join(SOCKET_NAME));
            let _ = fs::remove_dir(&directory);
        }
    }
}

impl Drop for PrivateSocket {
    fn drop(&mut self) {
        self.remove_directory();
    }
}

/// A descriptor of the socket file, and the path that leads through it.
fn anchor(socket: &Path) -> Option<(File, PathBuf)> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(target_os = "linux")]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, nix::fcntl::OFlag::O_PATH.bits());
    let anchor = options.open(socket).ok()?;
    let address = path_through(&anchor)?;
    Some((anchor, address))
}

fn path_through(file: &File) -> Option<PathBuf> {
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    path.exists().then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_reached_after_its_name_is_gone() {
        let (socket, listener) = PrivateSocket::open().unwrap();
        if cfg!(target_os = "linux") {
            assert_eq!(socket.directory, None);
        }
        for _ in 0..3 {
            let _client = socket.connect().unwrap();
            listener.accept().unwrap();
        }
    }

    #[test]
    fn the_directory_is_gone_in_the_end() {
        let directory = std::env::temp_dir().join(format!("threadcast-{}", Uuid::new_v4()));
        DirBuilder::new().mode(0o700).create(&directory).unwrap();
        UnixListener::bind(directory.join(SOCKET_NAME)).unwrap();
        drop(PrivateSocket {
            address: directory.join(SOCKET_NAME),
            _anchor: None,
            directory: Some(directory.clone()),
        });
        assert!(!directory.exists());
    }
}
