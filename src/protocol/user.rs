//! The user that a token names. A value of this type is always valid.

use std::fmt;
use std::sync::Arc;

use super::name::fits;

/// 1–128 characters, none of them a control character.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct UserName(Arc<str>);

impl UserName {
    /// `None` for a text that is no name of a user.
    pub(crate) fn new(name: &str) -> Option<UserName> {
        let is_name = !name.is_empty() && fits(name) && !name.contains(char::is_control);
        is_name.then(|| UserName(name.into()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_any_text_that_fits_a_line() {
        for name in ["a", "Ann \"7\" of 9", "ä", &"é".repeat(128)] {
            assert!(UserName::new(name).is_some(), "{name}");
        }
        for name in ["", "a\nb", "\u{7f}", "\u{85}", &"x".repeat(129)] {
            assert!(UserName::new(name).is_none(), "{name:?}");
        }
    }
}
