//! The name of an epoch: which incarnation of a topic a seq belongs to. Opaque for clients.

use std::fmt;

/// 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct EpochName([u8; EpochName::LEN]);

impl EpochName {
    const LEN: usize = 16;

    /// A name that no other epoch has.
    pub(crate) fn random() -> EpochName {
        let number = uuid::Uuid::new_v4().as_u64_pair().0;
        let mut name = [0; EpochName::LEN];
        name.copy_from_slice(format!("{number:016x}").as_bytes());
        EpochName(name)
    }

    /// `None` if the text is not what [`EpochName::random`] makes.
    pub(crate) fn parse(text: &str) -> Option<EpochName> {
        let name: [u8; EpochName::LEN] = text.as_bytes().try_into().ok()?;
        let is_digit = |digit: &u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
        name.iter().all(is_digit).then_some(EpochName(name))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn as_str(&self) -> &str {
        // It has only ASCII digits and letters.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for EpochName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for EpochName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_16_hexadecimal_digits() {
        let name = EpochName::random();
        assert_ne!(name, EpochName::random());
        assert_eq!(EpochName::parse(name.as_str()), Some(name));
        for wrong in [
            "",
            "0123456789abcde",
            "0123456789ABCDEF",
            "0123456789abcdeff",
        ] {
            assert_eq!(EpochName::parse(wrong), None, "{wrong}");
        }
    }
}
