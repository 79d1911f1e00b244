//! Buckets and read credentials (PROTOCOL §3).

use crate::ids::Digest;
use crate::text::{is_python_blank, python_strip};
use std::fmt;

/// Characters of an account id.
const ACCOUNT_CHARS: usize = 32;
/// Characters of a read access key.
const ACCESS_CHARS: usize = 32;
/// Characters of a read secret key.
const SECRET_CHARS: usize = 64;
/// Characters of a commitment.
pub const COMMITMENT_CHARS: usize = ACCOUNT_CHARS + ACCESS_CHARS + SECRET_CHARS;

/// Why credentials cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// Not 128 characters.
    #[error("the commitment has {0} characters instead of 128")]
    Length(usize),
    /// Not 32 hex digits.
    #[error("the account id is not 32 hex digits")]
    AccountId,
    /// A blank inside a key.
    #[error("a key holds a blank")]
    BlankInKey,
    /// The read access key has a wrong length.
    #[error("the read access key has {0} characters instead of 32")]
    AccessKeyLength(usize),
    /// The read secret key has a wrong length.
    #[error("the read secret key has {0} characters instead of 64")]
    SecretKeyLength(usize),
    /// No bucket name.
    #[error("the bucket name is blank")]
    BlankBucket,
    /// The bucket is not named after the hotkey.
    #[error("the bucket must be named after the hotkey, in lower case")]
    ForeignBucket,
}

/// Keys that read one miner's bucket. By the protocol's design they are public on the chain; they are kept
/// out of logs all the same.
#[derive(Clone, PartialEq, Eq)]
pub struct ReadCredentials {
    account_id: String,
    access_key: String,
    secret_key: String,
}

impl fmt::Debug for ReadCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadCredentials")
            .field("account_id", &self.account_id)
            .field("access_key", &"…")
            .field("secret_key", &"…")
            .finish()
    }
}

impl ReadCredentials {
    /// Reads a commitment: 128 characters (code points), account id first, then the two keys.
    ///
    /// # Errors
    /// Another length, an account id that is no hex, a blank inside a key.
    pub fn decode(commitment: &str) -> Result<Self, CredentialsError> {
        let chars: Vec<char> = commitment.chars().take(COMMITMENT_CHARS + 1).collect();
        if chars.len() != COMMITMENT_CHARS {
            return Err(CredentialsError::Length(commitment.chars().count()));
        }
        let (account, keys) = chars.split_at(ACCOUNT_CHARS);
        let (access, secret) = keys.split_at(ACCESS_CHARS);
        if keys.iter().copied().any(is_python_blank) {
            return Err(CredentialsError::BlankInKey);
        }
        let account: String = account.iter().collect();
        Ok(Self {
            account_id: account_id(&account)?,
            access_key: access.iter().collect(),
            secret_key: secret.iter().collect(),
        })
    }

    /// Makes credentials to be committed. Blanks around the parts are stripped.
    ///
    /// # Errors
    /// What [`ReadCredentials::decode`] would refuse.
    pub fn new(account: &str, access: &str, secret: &str) -> Result<Self, CredentialsError> {
        let account_id = account_id(account)?;
        check_key_lengths(access, secret)?;
        let (access_key, secret_key) = (python_strip(access), python_strip(secret));
        if access_key.contains(is_python_blank) || secret_key.contains(is_python_blank) {
            return Err(CredentialsError::BlankInKey);
        }
        Ok(Self {
            account_id,
            access_key: access_key.to_owned(),
            secret_key: secret_key.to_owned(),
        })
    }

    /// The 128 characters to commit.
    pub fn encode(&self) -> String {
        concatenate(&self.account_id, &self.access_key, &self.secret_key)
    }

    /// The account id: 32 lower-case hex digits.
    pub fn account_id(&self) -> &str {
        &self.account_id
    }

    /// The read access key.
    pub fn access_key(&self) -> &str {
        &self.access_key
    }

    /// The read secret key.
    pub fn secret_key(&self) -> &str {
        &self.secret_key
    }

    /// A digest by which two sets of credentials can be told apart without showing them.
    pub fn fingerprint(&self) -> Digest {
        fingerprint(&self.account_id, &self.access_key, &self.secret_key)
    }
}

/// The commitment's text without any check: account id, access key, secret key.
pub fn concatenate(account_id: &str, access_key: &str, secret_key: &str) -> String {
    [account_id, access_key, secret_key].concat()
}

/// SHA-256 of the three parts joined by colons.
pub fn fingerprint(account_id: &str, access_key: &str, secret_key: &str) -> Digest {
    Digest::of([account_id, access_key, secret_key].join(":").as_bytes())
}

/// Reads an account id: 32 hex digits, any case, blanks around stripped; gives it in lower case.
///
/// # Errors
/// [`CredentialsError::AccountId`].
pub fn account_id(text: &str) -> Result<String, CredentialsError> {
    let text = python_strip(text);
    if text.len() == ACCOUNT_CHARS && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(CredentialsError::AccountId)
    }
}

/// The endpoint of an account at Cloudflare R2.
///
/// # Errors
/// [`CredentialsError::AccountId`].
pub fn r2_endpoint(account: &str) -> Result<String, CredentialsError> {
    Ok(format!(
        "https://{}.r2.cloudflarestorage.com",
        account_id(account)?
    ))
}

/// Checks the lengths of the two read keys, blanks around stripped.
///
/// # Errors
/// A wrong length.
pub fn check_key_lengths(access: &str, secret: &str) -> Result<(), CredentialsError> {
    match (
        python_strip(access).chars().count(),
        python_strip(secret).chars().count(),
    ) {
        (ACCESS_CHARS, SECRET_CHARS) => Ok(()),
        (ACCESS_CHARS, other) => Err(CredentialsError::SecretKeyLength(other)),
        (other, _) => Err(CredentialsError::AccessKeyLength(other)),
    }
}

/// The bucket of a hotkey: its spelling in lower case.
pub fn bucket_name(hotkey: &str) -> String {
    python_strip(hotkey).to_lowercase()
}

/// Checks that a bucket is named at all.
///
/// # Errors
/// [`CredentialsError::BlankBucket`].
pub fn check_bucket_name(bucket: &str) -> Result<(), CredentialsError> {
    if python_strip(bucket).is_empty() {
        Err(CredentialsError::BlankBucket)
    } else {
        Ok(())
    }
}

/// Checks that a bucket is the hotkey's own.
///
/// # Errors
/// A blank or foreign name.
pub fn check_bucket_for(bucket: &str, hotkey: &str) -> Result<(), CredentialsError> {
    check_bucket_name(bucket)?;
    if bucket_name(bucket) == bucket_name(hotkey) {
        Ok(())
    } else {
        Err(CredentialsError::ForeignBucket)
    }
}

/// The text of a commitment's first field, from its raw bytes. `None` when it is no UTF-8.
pub fn commitment_text(raw: &[u8]) -> Option<String> {
    std::str::from_utf8(raw).ok().map(str::to_owned)
}
