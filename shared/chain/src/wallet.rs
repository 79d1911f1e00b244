//! Hotkey files of the Bittensor tools, and signing with them.
//!
//! Path `<base>/<wallet>/hotkeys/<hotkey>`, JSON on one line, usually in clear; encrypted ones start
//! with a mark (CHAIN.md §2.E). Only hotkeys are ever opened: a coldkey holds the money and has no
//! business on this machine.

mod file;

pub use file::{decode_password, password_variable};

use nexis_protocol::Hotkey;
use pbkdf2::pbkdf2_hmac;
use rand_core::{OsRng, RngCore as _};
use schnorrkel::{ExpansionMode, Keypair, MiniSecretKey, SecretKey};
use sha2::Sha512;
use std::fmt;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use subxt::SubstrateConfig;
use subxt::utils::{AccountId32, MultiSignature};
use subxt_signer::bip39::Mnemonic;
use zeroize::{Zeroize as _, Zeroizing};

/// Signing context of every sr25519 signature on Substrate chains, and of `Keypair.sign` in Python.
const CONTEXT: &[u8] = b"substrate";
/// Largest file taken for a key file.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// Why a hotkey could not be opened or made.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    /// The name would lead out of the wallet's folder.
    #[error("'{0}' is not a name of a wallet or hotkey: no slashes, not empty, no leading dot")]
    BadName(String),
    /// The file is not there.
    #[error(
        "there is no hotkey file {0}: check the wallet's path and names, or make one with `nexis wallet`"
    )]
    Missing(PathBuf),
    /// The system refuses to open or write it.
    #[error("opening {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is the coldkey.
    #[error(
        "{0} is the wallet's coldkey: it holds the money and is never needed here; point to a hotkey \
         and take the coldkey off this machine"
    )]
    Coldkey(PathBuf),
    /// Somebody else's format.
    #[error("{path} is {what}: {remedy}")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it seems to be.
        what: &'static str,
        /// What the operator can do.
        remedy: &'static str,
    },
    /// It is encrypted and no password is given.
    #[error(
        "{path} is encrypted: put its password into {variable} (written as the Bittensor tools do)"
    )]
    PasswordNeeded {
        /// The file.
        path: PathBuf,
        /// The environment variable that would hold it.
        variable: String,
    },
    /// The password does not open it.
    #[error("the password does not open {0}")]
    WrongPassword(PathBuf),
    /// The content is not a key.
    #[error("{path} is not a hotkey file: {reason}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The key inside is not the one whose address stands beside it.
    #[error(
        "{path} holds the key of {derived}, but says it is {stated}: the file is damaged or forged"
    )]
    AddressDiffers {
        /// The file.
        path: PathBuf,
        /// Address of the key.
        derived: Hotkey,
        /// Address that the file states.
        stated: String,
    },
    /// Never overwrite a key.
    #[error("{0} exists already: a key is never overwritten")]
    Exists(PathBuf),
}

/// A hotkey that can sign. Its secret is wiped from memory when dropped and never shown.
pub struct Wallet {
    pair: Keypair,
    hotkey: Hotkey,
    path: Option<PathBuf>,
}

impl fmt::Debug for Wallet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wallet")
            .field("hotkey", &self.hotkey)
            .finish_non_exhaustive()
    }
}

impl Wallet {
    /// Path of a hotkey file. A leading `~/` in `base` is the home folder.
    pub fn path_of(base: &Path, wallet: &str, hotkey: &str) -> Result<PathBuf, WalletError> {
        for name in [wallet, hotkey] {
            let plain = !name.is_empty() && !name.contains(['/', '\\', '\0']);
            if !plain || name.starts_with('.') {
                return Err(WalletError::BadName(name.to_owned()));
            }
        }
        let base = match (base.strip_prefix("~"), std::env::home_dir()) {
            (Ok(rest), Some(home)) => home.join(rest),
            _ => base.to_owned(),
        };
        Ok(base.join(wallet).join("hotkeys").join(hotkey))
    }

    /// Opens `<base>/<wallet>/hotkeys/<hotkey>`.
    ///
    /// An encrypted file takes about five seconds and 512 MiB: call this off the async threads.
    pub fn load(
        base: &Path,
        wallet: &str,
        hotkey: &str,
        password: Option<&str>,
    ) -> Result<Self, WalletError> {
        let path = Self::path_of(base, wallet, hotkey)?;
        let opened = Self::open(&path, password)?;
        let coldkey_pub = path
            .parent()
            .and_then(Path::parent)
            .map(|p| p.join("coldkeypub.txt"));
        if let Some(stated) = coldkey_pub.and_then(|p| fs::read_to_string(p).ok())
            && stated.contains(opened.hotkey.as_str())
        {
            return Err(WalletError::Coldkey(path));
        }
        Ok(opened)
    }

    /// Opens one file.
    pub fn open(path: &Path, password: Option<&str>) -> Result<Self, WalletError> {
        let name = path
            .file_name()
            .and_then(|n| n.to_str())
            .unwrap_or_default();
        if matches!(name, "coldkey" | "coldkeypub.txt") {
            return Err(WalletError::Coldkey(path.to_owned()));
        }
        let io = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::NotFound => WalletError::Missing(path.to_owned()),
            _ => WalletError::Io {
                path: path.to_owned(),
                source,
            },
        };
        let meta = fs::metadata(path).map_err(io)?;
        if !meta.is_file() || meta.len() > MAX_FILE_BYTES {
            return Err(WalletError::Malformed {
                path: path.to_owned(),
                reason: "it is not a file of at most 64 KiB",
            });
        }
        if meta.permissions().mode() & 0o077 != 0 {
            tracing::warn!(path = %path.display(), "the hotkey file can be read by others: chmod 600 it");
        }
        let bytes = Zeroizing::new(fs::read(path).map_err(io)?);
        let mut opened = file::read_key(path, &bytes, password)?;
        opened.path = Some(path.to_owned());
        Ok(opened)
    }

    /// Makes a new hotkey from twelve random words and writes its files (mode 0600) in the layout
    /// that the Python tools load.
    pub fn create(base: &Path, wallet: &str, hotkey: &str) -> Result<Self, WalletError> {
        let mut entropy = Zeroizing::new([0u8; 16]);
        OsRng.fill_bytes(entropy.as_mut());
        let words = Mnemonic::from_entropy(entropy.as_ref())
            .map(|m| Zeroizing::new(m.to_string()))
            .expect("sixteen bytes are valid entropy for twelve words");
        Self::create_from_phrase(base, wallet, hotkey, &words)
    }

    /// Like [`Wallet::create`], from given words.
    pub fn create_from_phrase(
        base: &Path,
        wallet: &str,
        hotkey: &str,
        words: &str,
    ) -> Result<Self, WalletError> {
        let path = Self::path_of(base, wallet, hotkey)?;
        let seed = seed_of_words(words).ok_or(WalletError::Malformed {
            path: path.clone(),
            reason: "the words are not a mnemonic",
        })?;
        let mut made = Self::from_seed(&seed);
        let io = |source| WalletError::Io {
            path: path.clone(),
            source,
        };
        let folder = path
            .parent()
            .expect("path_of ends in a file inside a folder");
        fs::create_dir_all(folder).map_err(io)?;
        let public = hex::encode(made.hotkey.public_key());
        let private = Zeroizing::new(hex::encode(Zeroizing::new(made.pair.secret.to_bytes())));
        let seed_hex = Zeroizing::new(hex::encode(*seed));
        let address = made.hotkey.as_str();
        // Nothing in these values needs escaping: hex, base58 and words of the English list.
        let json = Zeroizing::new(format!(
            r#"{{"accountId":"0x{public}","publicKey":"0x{public}","privateKey":"0x{}","secretPhrase":"{words}","secretSeed":"0x{}","ss58Address":"{address}","cryptoType":1}}"#,
            *private, *seed_hex
        ));
        write_new(&path, json.as_bytes())?;
        let public_path = path.with_file_name(format!("{hotkey}pub.txt"));
        let public_json = format!(
            r#"{{"accountId":"0x{public}","publicKey":"0x{public}","ss58Address":"{address}","cryptoType":1}}"#
        );
        match write_new(&public_path, public_json.as_bytes()) {
            Ok(()) | Err(WalletError::Exists(_)) => {}
            Err(error) => return Err(error),
        }
        made.path = Some(path);
        Ok(made)
    }

    /// From a 32-byte seed. For tests and dev chains; real keys come from files.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let mini = MiniSecretKey::from_bytes(seed).expect("any 32 bytes are a seed");
        Self::from_pair(mini.expand_to_keypair(ExpansionMode::Ed25519))
    }

    /// From a secret URI such as `//Alice`. For tests and dev chains.
    pub fn from_uri(uri: &str) -> Option<Self> {
        use schnorrkel::derive::ChainCode;
        let mut pieces = uri.split("//");
        let root = pieces.next()?;
        let words = if root.is_empty() {
            subxt_signer::DEV_PHRASE
        } else {
            root
        };
        let seed = seed_of_words(words)?;
        let mut pair = Self::from_seed(&seed).pair;
        for piece in pieces {
            let subxt_signer::DeriveJunction::Hard(code) =
                subxt_signer::DeriveJunction::hard(piece)
            else {
                return None;
            };
            let (mini, _) = pair
                .secret
                .hard_derive_mini_secret_key(Some(ChainCode(code)), b"");
            pair = mini.expand_to_keypair(ExpansionMode::Ed25519);
        }
        Some(Self::from_pair(pair))
    }

    fn from_private(bytes: &[u8]) -> Option<Self> {
        SecretKey::from_bytes(bytes)
            .ok()
            .map(|secret| Self::from_pair(secret.to_keypair()))
    }

    fn from_pair(pair: Keypair) -> Self {
        let hotkey = Hotkey::from_public_key(&pair.public.to_bytes());
        Self {
            pair,
            hotkey,
            path: None,
        }
    }

    /// Its address.
    pub const fn hotkey(&self) -> &Hotkey {
        &self.hotkey
    }

    /// The file it was opened from or written to.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Signs bytes, as `Keypair.sign` of the Python tools does.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.pair.sign_simple(CONTEXT, message).to_bytes()
    }
}

impl subxt::transactions::Signer<SubstrateConfig> for Wallet {
    fn account_id(&self) -> AccountId32 {
        AccountId32(self.hotkey.public_key())
    }

    fn sign(&self, payload: &[u8]) -> MultiSignature {
        MultiSignature::Sr25519(Self::sign(self, payload))
    }
}

/// Whether a signature over exactly these bytes is this hotkey's.
pub fn verify(hotkey: &Hotkey, message: &[u8], signature: &[u8]) -> bool {
    let Ok(signature) = schnorrkel::Signature::from_bytes(signature) else {
        return false;
    };
    let Ok(public) = schnorrkel::PublicKey::from_bytes(&hotkey.public_key()) else {
        return false;
    };
    public.verify_simple(CONTEXT, message, &signature).is_ok()
}

/// Like [`verify`], the way the subnet's API takes signatures (PROTOCOL §15): hex in any case with or
/// without 0x and blanks around it, over the message or over `<Bytes>message</Bytes>`.
pub fn verify_hex(hotkey: &Hotkey, message: &[u8], signature: &str) -> bool {
    let text = signature.trim();
    let text = text
        .strip_prefix("0x")
        .or_else(|| text.strip_prefix("0X"))
        .unwrap_or(text);
    let mut bytes = [0u8; 64];
    if hex::decode_to_slice(text, &mut bytes).is_err() {
        return false;
    }
    if verify(hotkey, message, &bytes) {
        return true;
    }
    let wrapped = [b"<Bytes>".as_slice(), message, b"</Bytes>".as_slice()].concat();
    verify(hotkey, &wrapped, &bytes)
}

/// Seed of a mnemonic without password, as Substrate derives it (from the entropy, not the words).
fn seed_of_words(words: &str) -> Option<Zeroizing<[u8; 32]>> {
    let mnemonic = Mnemonic::from_str(words.trim()).ok()?;
    let (mut entropy, length) = mnemonic.to_entropy_array();
    let mut long = Zeroizing::new([0u8; 64]);
    pbkdf2_hmac::<Sha512>(&entropy[..length], b"mnemonic", 2048, long.as_mut());
    entropy.zeroize();
    let mut seed = Zeroizing::new([0u8; 32]);
    seed.copy_from_slice(&long[..32]);
    Some(seed)
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), WalletError> {
    let io = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::AlreadyExists => WalletError::Exists(path.to_owned()),
        _ => WalletError::Io {
            path: path.to_owned(),
            source,
        },
    };
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(io)?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(io)
}

#[cfg(test)]
mod tests;
