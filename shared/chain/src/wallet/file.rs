//! What can lie in a hotkey file.

use super::{Wallet, WalletError, seed_of_words};
use argon2::{Algorithm, Argon2, Params, Version};
use crypto_secretbox::aead::{Aead as _, KeyInit as _};
use crypto_secretbox::{Nonce, XSalsa20Poly1305};
use serde::Deserialize;
use std::path::Path;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

const NACL: &[u8] = b"$NACL";
/// Fixed salt of the Bittensor tools.
const NACL_SALT: [u8; 16] = [
    0x13, 0x71, 0x83, 0xdf, 0xf1, 0x5a, 0x09, 0xbc, 0x9c, 0x90, 0xb5, 0x51, 0x87, 0x39, 0xe9, 0xb1,
];
/// Argon2i cost of the Bittensor tools (libsodium's "sensitive"): KiB and passes.
const NACL_MEMORY_KIB: u32 = 512 * 1024;
const NACL_PASSES: u32 = 8;

#[derive(Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(rename_all = "camelCase")]
struct KeyFile {
    secret_phrase: Option<String>,
    secret_seed: Option<String>,
    private_key: Option<String>,
    #[serde(alias = " ss58Address")]
    ss58_address: Option<String>,
    #[zeroize(skip)]
    crypto_type: Option<serde_json::Value>,
    /// Of a polkadot.js export.
    #[zeroize(skip)]
    encoded: Option<serde::de::IgnoredAny>,
}

/// Reads the content of a hotkey file.
pub(super) fn read_key(
    path: &Path,
    bytes: &[u8],
    password: Option<&str>,
) -> Result<Wallet, WalletError> {
    let foreign = |what, remedy| {
        Err(WalletError::Foreign {
            path: path.to_owned(),
            what,
            remedy,
        })
    };
    if bytes.starts_with(NACL) {
        let Some(password) = password else {
            return Err(WalletError::PasswordNeeded {
                path: path.to_owned(),
                variable: password_variable(path),
            });
        };
        let plain = open_nacl(&bytes[NACL.len()..], password)
            .ok_or_else(|| WalletError::WrongPassword(path.to_owned()))?;
        return read_plain(path, &plain);
    }
    if bytes.starts_with(b"$ANSIBLE_VAULT") {
        return foreign(
            "encrypted in the old Ansible format",
            "open and save it once with the Bittensor tools, which rewrite it",
        );
    }
    if bytes.starts_with(b"gAAAAA") {
        return foreign(
            "encrypted in the oldest format of the Bittensor tools (Fernet)",
            "open and save it once with the Bittensor tools, which rewrite it",
        );
    }
    read_plain(path, bytes)
}

fn read_plain(path: &Path, bytes: &[u8]) -> Result<Wallet, WalletError> {
    let malformed = |reason| WalletError::Malformed {
        path: path.to_owned(),
        reason,
    };
    let text = std::str::from_utf8(bytes)
        .map_err(|_| malformed("it is not text"))?
        .trim();
    if !text.starts_with('{') {
        // Very old files: the bare words or the bare seed.
        let seed = seed_of_hex(text).or_else(|| seed_of_words(text));
        let seed = seed.ok_or_else(|| malformed("it is neither JSON, nor words, nor a seed"))?;
        return Ok(Wallet::from_seed(&seed));
    }
    let file: KeyFile =
        serde_json::from_str(text).map_err(|_| malformed("its JSON cannot be read"))?;
    if file.encoded.is_some() {
        return Err(WalletError::Foreign {
            path: path.to_owned(),
            what: "an export of the polkadot.js wallet",
            remedy: "make the hotkey from its words with the Bittensor tools instead",
        });
    }
    let kind = file
        .crypto_type
        .as_ref()
        .map(|v| v.to_string().trim_matches('"').to_owned());
    if kind.is_some_and(|k| k != "1" && k != "null") {
        return Err(WalletError::Foreign {
            path: path.to_owned(),
            what: "a key that is not sr25519",
            remedy: "the subnet's tools sign with sr25519: make a hotkey of that kind",
        });
    }
    let filled = |field: &Option<String>| {
        field
            .as_deref()
            .map(str::trim)
            .filter(|t| !t.is_empty() && *t != "None")
            .map(str::to_owned)
    };
    let wallet = if let Some(words) = filled(&file.secret_phrase).map(Zeroizing::new) {
        let seed = seed_of_words(&words).ok_or_else(|| malformed("its words are no mnemonic"))?;
        Wallet::from_seed(&seed)
    } else if let Some(seed) = filled(&file.secret_seed).map(Zeroizing::new) {
        let seed = seed_of_hex(&seed).ok_or_else(|| malformed("its seed is not 64 hex digits"))?;
        Wallet::from_seed(&seed)
    } else if let Some(private) = filled(&file.private_key).map(Zeroizing::new) {
        let bytes = hex::decode(private.trim_start_matches("0x")).map(Zeroizing::new);
        bytes
            .ok()
            .and_then(|b| Wallet::from_private(&b))
            .ok_or_else(|| malformed("its private key is not 128 hex digits of an sr25519 key"))?
    } else {
        return Err(malformed(
            "it holds only the public part, nothing that can sign",
        ));
    };
    match filled(&file.ss58_address) {
        // The same key may be spelled with another network's prefix.
        Some(stated)
            if stated
                .parse::<nexis_protocol::Hotkey>()
                .map(|h| h.public_key())
                != Ok(wallet.hotkey.public_key()) =>
        {
            Err(WalletError::AddressDiffers {
                path: path.to_owned(),
                derived: wallet.hotkey.clone(),
                stated,
            })
        }
        _ => Ok(wallet),
    }
}

fn seed_of_hex(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let mut seed = Zeroizing::new([0u8; 32]);
    let digits = text.strip_prefix("0x").unwrap_or(text);
    hex::decode_to_slice(digits, seed.as_mut())
        .ok()
        .map(|()| seed)
}

fn nacl_key(password: &str, memory_kib: u32, passes: u32) -> Option<Zeroizing<[u8; 32]>> {
    let params = Params::new(memory_kib, passes, 1, Some(32)).ok()?;
    let argon = Argon2::new(Algorithm::Argon2i, Version::V0x13, params);
    let mut key = Zeroizing::new([0u8; 32]);
    argon
        .hash_password_into(password.as_bytes(), &NACL_SALT, key.as_mut())
        .ok()?;
    Some(key)
}

fn open_nacl(sealed: &[u8], password: &str) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, body) = sealed.split_at_checked(24)?;
    let key = nacl_key(password, NACL_MEMORY_KIB, NACL_PASSES)?;
    let cipher = XSalsa20Poly1305::new(key.as_slice().into());
    cipher
        .decrypt(Nonce::from_slice(nonce), body)
        .ok()
        .map(Zeroizing::new)
}

/// Encrypts the content of a key file as the Bittensor tools do, for the tests. Takes about five seconds and 512 MiB.
#[cfg(test)]
pub(super) fn seal_nacl(plain: &[u8], password: &str, nonce: [u8; 24]) -> Option<Vec<u8>> {
    let key = nacl_key(password, NACL_MEMORY_KIB, NACL_PASSES)?;
    let cipher = XSalsa20Poly1305::new(key.as_slice().into());
    let body = cipher.encrypt(Nonce::from_slice(&nonce), plain).ok()?;
    Some([NACL, &nonce, &body].concat())
}

/// Name of the environment variable that holds the password of an encrypted file.
pub fn password_variable(path: &Path) -> String {
    let text = path.to_string_lossy().to_uppercase();
    format!("BT_PW_{}", text.replace(['/', '.'], "_"))
}

/// Reads the value of that variable: base64 of the password xor-ed with the variable's own name.
pub fn decode_password(variable: &str, value: &str) -> Option<Zeroizing<String>> {
    let bytes = Zeroizing::new(decode_base64(value.trim())?);
    let name = variable.as_bytes();
    if name.is_empty() {
        return None;
    }
    let plain: Vec<u8> = bytes
        .iter()
        .zip(name.iter().cycle())
        .map(|(b, n)| b ^ n)
        .collect();
    String::from_utf8(plain).ok().map(Zeroizing::new)
}

fn decode_base64(text: &str) -> Option<Vec<u8>> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.trim_end_matches('=');
    if digits.len() % 4 == 1 || text.len() > 4096 {
        return None;
    }
    let mut out = Vec::with_capacity(digits.len() * 3 / 4);
    let (mut held, mut bits) = (0u32, 0u32);
    for c in digits.bytes() {
        let value = ALPHABET.iter().position(|a| *a == c)?;
        held = (held << 6) | u32::try_from(value).ok()?;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push(((held >> bits) & 0xff) as u8);
        }
    }
    Some(out)
}
