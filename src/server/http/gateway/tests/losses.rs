//! What the gateway does when a handler never answers, or tiny_http is lost.

use super::*;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::fs::{self, File};
use std::process::Command;
use std::sync::Weak;

const SHORT: Duration = Duration::from_millis(100);

/// One worker that is given up soon.
const IMPATIENT: GatewayOptions = GatewayOptions {
    workers: 1,
    queue_timeout: LONG,
    answer_timeout: SHORT,
};

/// The id for which the handler does not return.
const STUCK: u64 = 7;

/// Ends the handlers for [`STUCK`] when dropped.
type Release = crossbeam_channel::Sender<()>;

/// A gateway whose handler does not return for [`STUCK`].
fn sticky_gateway(options: GatewayOptions) -> (Gateway, Release) {
    let (release, held) = bounded::<()>(0);
    let gateway = gateway(options, move |id| {
        if id == STUCK {
            let _ = held.recv();
        }
        true
    });
    (gateway, release)
}

fn retry_after(response: &Response) -> Option<&str> {
    let mut headers = response.headers.iter();
    let header = headers.find(|(name, _)| name == "Retry-After")?;
    Some(&header.1)
}

/// The tiny_http that answers now.
fn backend(gateway: &Gateway) -> Weak<backend::Backend> {
    Arc::downgrade(&gateway.supervisor.current().unwrap())
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < deadline, "never came true: {what}");
        thread::yield_now();
    }
}

/// Runs `body` in a process of its own, for it takes what all of a process share.
fn alone(test: &str, body: impl FnOnce()) {
    const ALONE: &str = "THREADCAST_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return body();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complained}");
    assert!(said.contains("1 passed"), "no test is called {test}");
}

/// Open descriptors whose numbers are below `limit`, without the one that counts them.
fn descriptors_below(limit: usize) -> usize {
    let names = fs::read_dir("/proc/self/fd")
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let numbers = names.filter_map(|name| name.to_str()?.parse::<usize>().ok());
    numbers.filter(|number| *number < limit).count() - 1
}

#[test]
fn a_handler_that_never_answers_costs_its_own_request_503() {
    let (gateway, release) = sticky_gateway(IMPATIENT);
    let began = Instant::now();
    let stuck = close(&gateway, STUCK);
    let waited = began.elapsed();
    assert_eq!((stuck.status, retry_after(&stuck)), (503, Some("1")));
    assert!(waited >= SHORT && waited < LONG, "{waited:?}");
    // The only worker is stuck for good; another one answers.
    assert!(is_for(&close(&gateway, 1), 1));
    drop(release);
}

#[test]
fn workers_that_never_end_are_replaced_up_to_a_bound_and_joined_when_they_do() {
    let options = GatewayOptions {
        queue_timeout: Duration::from_secs(2),
        ..IMPATIENT
    };
    let (gateway, release) = sticky_gateway(options);
    // The first worker, four in its place, and then no more.
    let answers: Vec<_> = (0..7).map(|_| close(&gateway, STUCK)).collect();
    assert!(answers.iter().all(|answer| answer.status == 503));
    assert!(text(&answers[4]).contains("too long"));
    assert!(text(&answers[6]).contains("No REST worker"));
    assert_eq!(retry_after(&answers[6]), Some("1"));
    drop(release);
    eventually("they end, and there is a worker again", || {
        close(&gateway, 1).status == 200
    });
}

#[test]
fn a_lost_connection_is_replaced_and_so_is_a_tiny_http_that_opens_none() {
    let (gateway, _release) = sticky_gateway(IMPATIENT);
    let first = gateway.supervisor.current().unwrap();
    first.cancel();
    assert_eq!(close(&gateway, 1).status, 500);
    assert_eq!(close(&gateway, 1).status, 200);
    assert!(backend(&gateway).ptr_eq(&Arc::downgrade(&first)));
    first.mark_lost();
    // The connection that still works is used.
    assert_eq!(close(&gateway, 1).status, 200);
    assert!(backend(&gateway).ptr_eq(&Arc::downgrade(&first)));
    first.cancel();
    assert_eq!(close(&gateway, 1).status, 500);
    assert_eq!(close(&gateway, 1).status, 200);
    assert!(!backend(&gateway).ptr_eq(&Arc::downgrade(&first)));
}

#[test]
fn starts_are_bounded_in_rate() {
    let (gateway, _release) = sticky_gateway(IMPATIENT);
    let began = Instant::now();
    let mut seen = Vec::new();
    while seen.len() < 4 {
        let current = gateway.supervisor.current().unwrap();
        current.mark_lost();
        current.cancel();
        // Held, so that no other one has its address.
        seen.push(current);
        assert_eq!(close(&gateway, 1).status, 500);
        assert_eq!(close(&gateway, 1).status, 200);
    }
    // The first start after a loss is at once.
    assert!(began.elapsed() >= Duration::from_secs(3));
}

#[test]
fn shutdown_does_not_wait_for_a_handler_that_never_answers() {
    let options = GatewayOptions {
        answer_timeout: LONG,
        ..IMPATIENT
    };
    let (gateway, release) = sticky_gateway(options);
    thread::scope(|scope| {
        let stuck = scope.spawn(|| close(&gateway, STUCK));
        eventually("it is under way", || {
            gateway.idle.lock().as_ref().is_some_and(Vec::is_empty)
        });
        let waiting = scope.spawn(|| close(&gateway, 1));
        let began = Instant::now();
        gateway.shutdown(SHORT);
        let statuses = [stuck, waiting].map(|request| request.join().unwrap().status);
        assert_eq!(statuses, [503, 503]);
        assert!(began.elapsed() < LONG / 2, "{:?}", began.elapsed());
    });
    drop(release);
}

#[test]
fn a_tiny_http_that_ran_out_of_descriptors_is_started_anew_once_there_are_some() {
    const LIMIT: usize = 100;
    alone(
        "server::http::gateway::tests::losses::a_tiny_http_that_ran_out_of_descriptors_is_started_anew_once_there_are_some",
        || {
            let options = GatewayOptions {
                queue_timeout: Duration::from_millis(1500),
                ..IMPATIENT
            };
            let (gateway, _release) = sticky_gateway(options);
            assert_eq!(close(&gateway, 1).status, 200);
            let (descriptors, first) = (descriptors_below(LIMIT), backend(&gateway));
            let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
            setrlimit(Resource::RLIMIT_NOFILE, LIMIT as u64, hard).unwrap();
            // The lost connection had three; tiny_http holds one for the next.
            let free = LIMIT - (descriptors - 3 + 1);
            gateway.supervisor.current().unwrap().cancel();
            assert_eq!(close(&gateway, 1).status, 500);
            let mut taken: Vec<File> = Vec::new();
            eventually("tiny_http has closed its end, too", || {
                taken.extend(std::iter::from_fn(|| File::open("/dev/null").ok()));
                taken.len() >= free
            });
            // One for the new connection: tiny_http has none for the second handle of its end, and its accept thread panics.
            // What it leaves may just be enough for another one.
            taken.pop();
            for _ in 0..3 {
                let began = Instant::now();
                let answer = close(&gateway, 1);
                let told = matches!(
                    (answer.status, retry_after(&answer)),
                    (200, None) | (503, Some("1"))
                );
                assert!(told, "{answer:?}");
                assert!(began.elapsed() < LONG / 2, "{:?}", began.elapsed());
            }
            drop(taken);
            eventually("it is served again", || close(&gateway, 1).status == 200);
            assert!(!backend(&gateway).ptr_eq(&first));
            eventually("no descriptor is left over", || {
                descriptors_below(LIMIT) <= descriptors
            });
        },
    );
}
