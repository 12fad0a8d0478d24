//! Mistakes that can be put into the shipped code, to show that the models would find them.
//!
//! In an ordinary build none can: [`mutated`] is a constant.

/// A mistake, named after what it breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// A thread sends while the writer thread is in the middle of a frame.
    SendBesideWriter,
    /// A subscription takes a batch that does not begin where it stands.
    TakeAnyBatch,
    /// A subscription gathers after it has ended.
    GatherUnlessLive,
    /// A range is skipped and not told.
    SkipUntold,
    /// The writer gives the token back after it has read the log.
    ReleaseTokenLate,
    /// A token that finds the channel full is lost.
    LoseTokenWhenFull,
    /// The one who fans out does not look again for events that came during its pass.
    LeaveWhatCameLate,
    /// A publisher that has its own work to do forgets what others left to it.
    ForgetUnfinished,
    /// A fan-out that ends early does not leave its events to the writers.
    DropUnfinished,
    /// A publisher waits for its own peer with the events of others in its hands.
    WaitUnfinished,
    /// A round passes by a connection on which another thread sends, as if its socket had refused.
    PassByBusy,
    /// Events are skipped by how many were published, not by how many were offered.
    SkipUnoffered,
    /// A socket is written to under a topic's lock.
    SendUnderTopicLock,
    /// Replies are dropped while there is something unsent before them.
    DropReplies,
    /// The writer does not tell a waiting reader that there is room again.
    WriteSilently,
    /// Frames go out behind the close frame.
    SendBehindClose,
    /// What was taken over may gather events that came after.
    OutliveTakeover,
    /// A connection that is ending may still take a client id over.
    TakeOverWhenOver,
    /// A deleted topic takes events.
    PublishToDeleted,
    /// A cursor moves between a publisher's look at it and its wait.
    MoveUnnoticed,
    /// At shutdown an append under way is not waited for.
    DrainWithoutBarrier,
    /// A connection may become a WebSocket when the last ones were listed already.
    UpgradeWhenClosed,
}

/// Whether this mistake is in force.
#[cfg(not(shuttle))]
#[inline(always)]
pub(crate) const fn mutated(_: Mutation) -> bool {
    false
}

#[cfg(all(test, shuttle))]
pub(crate) use self::checked::apply_mutation;
#[cfg(shuttle)]
pub(crate) use self::checked::mutated;

#[cfg(shuttle)]
mod checked {
    use std::cell::Cell;

    use super::Mutation;

    thread_local! {
        /// All threads of a model run on one thread.
        static IN_FORCE: Cell<Option<Mutation>> = const { Cell::new(None) };
    }

    #[cfg(test)]
    pub(crate) fn apply_mutation(mutation: Option<Mutation>) {
        IN_FORCE.set(mutation);
    }

    pub(crate) fn mutated(mutation: Mutation) -> bool {
        IN_FORCE.get() == Some(mutation)
    }
}
