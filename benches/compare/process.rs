//! A server under test: a child process with a folder and a port of its own, and its CPU time to the nanosecond.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

use super::Failure;

const START_DEADLINE: Duration = Duration::from_secs(10);
const STOP_DEADLINE: Duration = Duration::from_secs(20);

/// Where a server may listen, and a folder for what it writes; removed when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) address: SocketAddr,
    pub(crate) folder: PathBuf,
}

impl Place {
    pub(crate) fn new() -> Result<Place, Failure> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("threadcast-compare-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder)?;
        // A server that gives up root's rights writes here too.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777))?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        Ok(Place { address, folder })
    }

    /// Writes a configuration and returns its path.
    pub(crate) fn write(&self, text: &str) -> io::Result<PathBuf> {
        let file = self.folder.join("server.conf");
        fs::write(&file, text)?;
        Ok(file)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What is left in a temporary folder harms nobody.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A running server; ended when dropped.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    child: Child,
    place: Place,
}

impl ServerProcess {
    /// Starts `command` and waits until it takes connections.
    pub(crate) fn start(command: &mut Command, place: Place) -> Result<ServerProcess, Failure> {
        let child = command
            .current_dir(&place.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut server = ServerProcess { child, place };
        let started = Instant::now();
        while TcpStream::connect(server.address()).is_err() {
            if let Some(status) = server.child.try_wait()? {
                return Err(format!("it did not start: {status}").into());
            }
            if started.elapsed() > START_DEADLINE {
                return Err("it takes no connections".into());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(server)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.place.address
    }

    /// CPU time of the process and its children so far.
    pub(crate) fn cpu(&self) -> Result<Duration, Failure> {
        let id = self.child.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        let children = children.split_whitespace().map(str::parse);
        let mut total = Duration::ZERO;
        for id in std::iter::once(Ok(i32::try_from(id)?)).chain(children) {
            let clock = clock_getcpuclockid(Pid::from_raw(id?))?;
            total += Duration::from(clock_gettime(clock)?);
        }
        Ok(total)
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // Asked first, for a killed nginx would leave its worker behind.
        if let Ok(id) = i32::try_from(self.child.id()) {
            let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        }
        let asked = Instant::now();
        while asked.elapsed() < STOP_DEADLINE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where a program is, among the folders of `PATH` and those that hold servers.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|file| Path::is_file(file))
}
