//! Channels of the model checker with the interface of crossbeam-channel.

use std::time::Duration;

pub(crate) use std::sync::mpsc::{RecvError, RecvTimeoutError, SendError, TrySendError};

use shuttle::sync::mpsc;

pub(crate) enum Sender<T> {
    Bounded(mpsc::SyncSender<T>),
    Unbounded(mpsc::Sender<T>),
}

pub(crate) struct Receiver<T>(mpsc::Receiver<T>);

pub(crate) fn bounded<T>(items: usize) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = mpsc::sync_channel(items);
    (Sender::Bounded(sender), Receiver(receiver))
}

pub(crate) fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = mpsc::channel();
    (Sender::Unbounded(sender), Receiver(receiver))
}

impl<T> Sender<T> {
    pub(crate) fn send(&self, item: T) -> Result<(), SendError<T>> {
        match self {
            Sender::Bounded(sender) => sender.send(item),
            Sender::Unbounded(sender) => sender.send(item),
        }
    }

    pub(crate) fn try_send(&self, item: T) -> Result<(), TrySendError<T>> {
        match self {
            Sender::Bounded(sender) => sender.try_send(item),
            Sender::Unbounded(sender) => sender
                .send(item)
                .map_err(|error| TrySendError::Disconnected(error.0)),
        }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        match self {
            Sender::Bounded(sender) => Sender::Bounded(sender.clone()),
            Sender::Unbounded(sender) => Sender::Unbounded(sender.clone()),
        }
    }
}

impl<T> Receiver<T> {
    pub(crate) fn recv(&self) -> Result<T, RecvError> {
        self.0.recv()
    }

    pub(crate) fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.0.recv_timeout(timeout)
    }
}

impl<'a, T> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = mpsc::Iter<'a, T>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}
