//! The guard: maps a presented credential to its principal, and reloads the files with keys.

use std::path::PathBuf;

use super::file::{self, InvalidKeysFile};
use super::key::{Key, KeySet};
use super::token::{Refused, Verifier};
use super::{ApiKey, Credential, Principal};
use crate::sync::{Arc, Lock, Mutex, RwLock, mutex, rw_lock};

pub(crate) struct Guard {
    api_key: Option<ApiKey>,
    keys_file: Option<PathBuf>,
    /// The valid keys. Held only to read or replace the pointer; no other lock is taken under it.
    keys: RwLock<Arc<KeySet>>,
    /// Held while files are read, so that the later of two reloads wins. `keys` and those of the tokens are taken under it.
    reloading: Mutex<()>,
    /// Checks tokens, if there may be any.
    tokens: Option<Verifier>,
}

/// Why a request is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// It has no credential, or a malformed one, or one that is the secret of no key.
    NoCredential,
    /// Its credential is the secret of no key, and no valid token either.
    Token(Refused),
}

impl Guard {
    /// Without an API key, a file and tokens, everyone may do everything.
    ///
    /// # Errors
    /// [`InvalidKeysFile`] if the file cannot be read or is invalid.
    pub(crate) fn new(
        api_key: Option<ApiKey>,
        keys_file: Option<PathBuf>,
        tokens: Option<Verifier>,
    ) -> Result<Guard, InvalidKeysFile> {
        let guard = Guard {
            api_key,
            keys_file,
            keys: rw_lock(Lock::Keys, Arc::default()),
            reloading: mutex(Lock::KeyReload, ()),
            tokens,
        };
        *guard.keys.write() = Arc::new(guard.read()?);
        Ok(guard)
    }

    /// A guard with the keys of the text of a file.
    #[cfg(fuzzing)]
    pub(crate) fn of_text(text: &str) -> Result<Guard, String> {
        Ok(Guard {
            api_key: None,
            keys_file: Some(PathBuf::new()),
            keys: rw_lock(Lock::Keys, Arc::new(KeySet::new(file::parse(text)?))),
            reloading: mutex(Lock::KeyReload, ()),
            tokens: None,
        })
    }

    /// The holder of the key with this digest.
    #[cfg(fuzzing)]
    pub(crate) fn holder_of(&self, digest: &super::Digest) -> Option<Principal> {
        let key = self.current().find(digest).cloned();
        key.map(Principal::Holder)
    }

    /// Whether everyone may do everything.
    pub(crate) fn is_open(&self) -> bool {
        self.api_key.is_none() && self.keys_file.is_none() && self.tokens.is_none()
    }

    /// How many keys are valid: those with rights of their own, and those that sign tokens.
    pub(crate) fn key_count(&self) -> usize {
        let of_tokens = self.tokens.as_ref().map_or(0, Verifier::key_count);
        self.current().len() + of_tokens
    }

    /// The principal of a request. Calls `presented` only if there are keys. May wait for the keys of tokens, see
    /// [`Verifier::verify`].
    pub(crate) fn admit(
        &self,
        presented: impl FnOnce() -> Option<Credential>,
    ) -> Result<Principal, Denied> {
        if self.is_open() {
            return Ok(Principal::Everyone);
        }
        let credential = presented().ok_or(Denied::NoCredential)?;
        let keys = self.current();
        match keys.find(credential.digest()) {
            Some(key) => Ok(Principal::Holder(Arc::clone(key))),
            None => self.admit_token(credential.text()),
        }
    }

    /// The holder of a token. May wait, as [`Guard::admit`].
    pub(crate) fn admit_token(&self, text: &[u8]) -> Result<Principal, Denied> {
        let tokens = self.tokens.as_ref().ok_or(Denied::NoCredential)?;
        let token = tokens.verify(text).map_err(Denied::Token)?;
        Ok(Principal::Bearer(Arc::new(token)))
    }

    /// Whether a connection may continue: its key must neither be removed nor changed. A token is valid until it expires,
    /// also if the key that signed it is not valid any more.
    pub(crate) fn still_admits(&self, principal: &Principal) -> bool {
        match principal {
            Principal::Everyone => self.is_open(),
            Principal::Holder(key) => self.current().contains(key),
            Principal::Bearer(_) => !principal.has_expired(),
        }
    }

    /// Reloads the file of keys and the one with the public keys of tokens; `false` if there is neither. One that is wrong does
    /// not keep the other from being read.
    ///
    /// # Errors
    /// The first [`InvalidKeysFile`]; what it would have replaced stays unchanged.
    pub(crate) fn reload(&self) -> Result<bool, InvalidKeysFile> {
        let _one_at_a_time = self.reloading.lock();
        let keys = self.read().map(|keys| *self.keys.write() = Arc::new(keys));
        let of_tokens = self.tokens.as_ref().map(Verifier::read_file).transpose();
        keys?;
        Ok(of_tokens? == Some(true) || self.keys_file.is_some())
    }

    /// Checks tokens, if there may be any.
    pub(crate) fn tokens(&self) -> Option<&Verifier> {
        self.tokens.as_ref()
    }

    fn current(&self) -> Arc<KeySet> {
        Arc::clone(&self.keys.read())
    }

    fn read(&self) -> Result<KeySet, InvalidKeysFile> {
        let api_key = self.api_key.iter();
        let api_key = api_key.map(|key| Key::api_key(key.digest().clone()));
        let named = self.keys_file.as_deref().map(file::read).transpose()?;
        Ok(KeySet::new(api_key.chain(named.into_iter().flatten())))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::Digest;
    use super::*;

    /// A file that is removed on drop.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str, text: &str) -> Scratch {
            let name = format!("threadcast-{}-{name}.toml", std::process::id());
            let scratch = Scratch(std::env::temp_dir().join(name));
            scratch.write(text);
            scratch
        }

        fn write(&self, text: &str) {
            fs::write(&self.0, text).unwrap();
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    fn entry(name: &str, rights: &str) -> String {
        let sha256 = Digest::of(name.as_bytes()).to_hex();
        format!("[[key]]\nname = \"{name}\"\nsha256 = \"{sha256}\"\n{rights}\n")
    }

    fn admitted(guard: &Guard, secret: &str) -> Option<Principal> {
        guard
            .admit(|| Some(Credential::new(secret.as_bytes())))
            .ok()
    }

    #[test]
    fn without_keys_everyone_is_admitted_unchecked() {
        let guard = Guard::new(None, None, None).unwrap();
        assert!(guard.is_open());
        let admitted = guard.admit(|| panic!("must not be called"));
        assert_eq!(admitted, Ok(Principal::Everyone));
        assert!(guard.still_admits(&Principal::Everyone));
        assert_eq!(guard.reload(), Ok(false));
    }

    #[test]
    fn with_a_key_only_its_holder_is_admitted() {
        let guard = Guard::new(Some(ApiKey::new("k").unwrap()), None, None).unwrap();
        assert!(!guard.is_open());
        assert_eq!(guard.admit(|| None), Err(Denied::NoCredential));
        assert_eq!(admitted(&guard, "K"), None);
        assert!(admitted(&guard, "k").unwrap().is_admin());
    }

    #[test]
    fn api_key_and_keys_file_are_both_valid() {
        let file = Scratch::new("both", &entry("reader", "subscribe = [\"*\"]"));
        let guard =
            Guard::new(Some(ApiKey::new("k").unwrap()), Some(file.0.clone()), None).unwrap();
        assert_eq!(guard.key_count(), 2);
        assert!(admitted(&guard, "k").unwrap().is_admin());
        let reader = admitted(&guard, "reader").unwrap();
        assert!(reader.may_subscribe("a") && !reader.may_publish("a") && !reader.is_admin());
        assert_eq!(reader.key_name(), Some("reader"));
    }

    #[test]
    fn reload_keeps_principals_with_unchanged_keys() {
        let file = Scratch::new(
            "reload",
            &(entry("same", "") + &entry("changed", "") + &entry("gone", "")),
        );
        let guard = Guard::new(None, Some(file.0.clone()), None).unwrap();
        let before = ["same", "changed", "gone"].map(|name| admitted(&guard, name).unwrap());
        file.write(&(entry("changed", "admin = true") + &entry("same", "") + &entry("new", "")));
        assert_eq!(guard.reload(), Ok(true));
        assert_eq!(
            before.map(|principal| guard.still_admits(&principal)),
            [true, false, false]
        );
        assert!(admitted(&guard, "changed").unwrap().is_admin());
        assert!(admitted(&guard, "new").is_some() && admitted(&guard, "gone").is_none());
    }

    #[test]
    fn invalid_file_keeps_the_current_keys() {
        let file = Scratch::new("broken", &entry("a", ""));
        let guard = Guard::new(None, Some(file.0.clone()), None).unwrap();
        let holder = admitted(&guard, "a").unwrap();
        for invalid in ["", "[[key]]\nname = \"a\"", "not TOML"] {
            file.write(invalid);
            assert!(guard.reload().is_err(), "{invalid}");
            assert!(guard.still_admits(&holder) && admitted(&guard, "a").is_some());
        }
        fs::remove_file(&file.0).unwrap();
        assert!(guard.reload().is_err());
        assert!(guard.still_admits(&holder));
    }
}
