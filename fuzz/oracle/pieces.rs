//! Splits bytes into pieces in a way that depends on them alone, so that a crash can be reproduced.

/// The ends of the pieces; the last is the end of the bytes.
pub fn ends(data: &[u8]) -> Vec<usize> {
    let mut random = Random::of(data);
    let (mut at, mut ends) = (0, Vec::new());
    let longest = [1, 3, 17, 64][random.below(4)];
    while at < data.len() {
        at = (at + 1 + random.below(longest)).min(data.len());
        ends.push(at);
    }
    ends
}

/// The pieces themselves.
pub fn of(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut at = 0;
    ends(data).into_iter().map(move |end| {
        let piece = &data[at..end];
        at = end;
        piece
    })
}

/// Xorshift, seeded with a few of the bytes.
pub struct Random(u64);

impl Random {
    pub fn of(data: &[u8]) -> Random {
        let some = data.iter().take(16).chain(data.iter().rev().take(16));
        let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        Random(some.fold(0xcbf2_9ce4_8422_2325 ^ data.len() as u64, mix) | 1)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }
}
