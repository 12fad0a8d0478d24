//! What subscribers and publishers went through, counted.

use std::ops::AddAssign;

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    /// Events received.
    pub(crate) received: u64,
    /// Gap notices, and the events they told of.
    pub(crate) gaps: u64,
    pub(crate) told: u64,
    /// Subscriptions with a position.
    pub(crate) resumes: u64,
    /// Notices of being replaced.
    pub(crate) takeovers: u64,
    /// Connections that the server ended, and that the client cut.
    pub(crate) disconnects: u64,
    pub(crate) cuts: u64,
    /// Subscriptions changed by the churning.
    pub(crate) churns: u64,
    /// Messages that found no room in time and were not published.
    pub(crate) refused: u64,
    /// Connections of publishers that an administrator closed, or the change of their key.
    pub(crate) withdrawals: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.received += other.received;
        self.gaps += other.gaps;
        self.told += other.told;
        self.resumes += other.resumes;
        self.takeovers += other.takeovers;
        self.disconnects += other.disconnects;
        self.cuts += other.cuts;
        self.churns += other.churns;
        self.refused += other.refused;
        self.withdrawals += other.withdrawals;
    }
}
