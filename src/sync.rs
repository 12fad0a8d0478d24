//! The one door to synchronisation: every lock, atomic and channel of the broker and the outbox comes from here,
//! so that a model checker can put its own in their place.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
pub(crate) use std::sync::{Arc, Weak};

pub(crate) use crossbeam_channel as channel;
pub(crate) use parking_lot::{Condvar, Mutex, RwLock};
