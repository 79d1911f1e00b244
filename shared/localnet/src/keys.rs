//! Keys and hotkey files, all derived from one seed: the same seed gives the same subnet.
//!
//! Never for a real chain: whoever knows the seed owns the keys.

use nexis_bucket::BucketAccess;
use nexis_protocol::Hotkey;
use schnorrkel::{ExpansionMode, Keypair, MiniSecretKey};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::io;
use std::path::{Path, PathBuf};

/// A development identity.
#[derive(Clone)]
pub struct DevKey {
    seed: [u8; 32],
    pair: Keypair,
}

impl std::fmt::Debug for DevKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("DevKey").field(&self.hotkey()).finish()
    }
}

/// 32 bytes that depend on the seed and on what they are for.
pub(crate) fn derive(seed: u64, purpose: &str) -> [u8; 32] {
    Sha256::digest(format!("nexis-localnet:{seed}:{purpose}")).into()
}

impl DevKey {
    /// The key of `name` on the subnet made from `seed`.
    pub fn derive(seed: u64, name: &str) -> Self {
        let seed = derive(seed, &format!("hotkey:{name}"));
        let mini = MiniSecretKey::from_bytes(&seed).expect("any 32 bytes are a mini secret");
        Self {
            seed,
            pair: mini.expand_to_keypair(ExpansionMode::Ed25519),
        }
    }

    /// The mini secret ("secret seed"), from which other libraries make the same pair.
    pub const fn secret_seed(&self) -> [u8; 32] {
        self.seed
    }

    /// The sr25519 public key.
    pub fn public_key(&self) -> [u8; 32] {
        self.pair.public.to_bytes()
    }

    /// Its address.
    pub fn hotkey(&self) -> Hotkey {
        Hotkey::from_public_key(&self.public_key())
    }

    /// Signs as substrate does.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.pair.sign_simple(b"substrate", message).to_bytes()
    }

    /// Writes `<wallets>/<wallet>/hotkeys/<name>` as the Bittensor tools do: plain JSON, mode 0600, and
    /// `<name>pub.txt` beside it.
    pub fn write_wallet(&self, wallets: &Path, wallet: &str, name: &str) -> io::Result<PathBuf> {
        let folder = wallets.join(wallet).join("hotkeys");
        std::fs::create_dir_all(&folder)?;
        let public = format!("0x{}", hex::encode(self.public_key()));
        let full = json!({
            "accountId": public,
            "publicKey": public,
            "privateKey": format!("0x{}", hex::encode(self.pair.secret.to_bytes())),
            "secretSeed": format!("0x{}", hex::encode(self.seed)),
            "ss58Address": self.hotkey().as_str(),
            "cryptoType": 1,
        });
        let path = folder.join(name);
        write_private(&path, &full.to_string())?;
        let shown = json!({
            "accountId": public,
            "publicKey": public,
            "ss58Address": self.hotkey().as_str(),
            "cryptoType": 1,
        });
        std::fs::write(folder.join(format!("{name}pub.txt")), shown.to_string())?;
        Ok(path)
    }
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes())
}

/// Credentials to a bucket, of the lengths that a commitment wants (32, 32, 64).
pub(crate) fn bucket_access(seed: u64, bucket: &str, purpose: &str) -> BucketAccess {
    let hexed = |part: &str| hex::encode(derive(seed, &format!("{part}:{bucket}:{purpose}")));
    BucketAccess {
        bucket: bucket.to_owned(),
        account_id: hex::encode(derive(seed, &format!("account:{bucket}")))[..32].to_owned(),
        access_key: hexed("access")[..32].to_owned(),
        secret_key: hexed("secret"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nexis_protocol::credentials::ReadCredentials;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_same_seed_gives_the_same_subnet_and_another_seed_another() {
        assert_eq!(
            DevKey::derive(1, "a").hotkey(),
            DevKey::derive(1, "a").hotkey()
        );
        assert_ne!(
            DevKey::derive(1, "a").hotkey(),
            DevKey::derive(2, "a").hotkey()
        );
        assert_ne!(
            DevKey::derive(1, "a").hotkey(),
            DevKey::derive(1, "b").hotkey()
        );
    }

    #[test]
    fn credentials_survive_a_commitment() {
        let access = bucket_access(7, "5bucket", "read");
        let text = [
            access.account_id.as_str(),
            &access.access_key,
            &access.secret_key,
        ]
        .concat();
        let read = ReadCredentials::decode(&text).unwrap();
        assert_eq!(read.account_id(), access.account_id);
        assert_eq!(read.secret_key(), access.secret_key);
    }

    #[test]
    fn a_hotkey_file_is_private_and_names_its_address() {
        let folder = tempfile::tempdir().unwrap();
        let key = DevKey::derive(1, "validator");
        let path = key
            .write_wallet(folder.path(), "local", "validator")
            .unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let text = std::fs::read_to_string(&path).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["ss58Address"], key.hotkey().as_str());
        let secret = hex::decode(&value["privateKey"].as_str().unwrap()[2..]).unwrap();
        let secret = schnorrkel::SecretKey::from_bytes(&secret).unwrap();
        assert_eq!(secret.to_public().to_bytes(), key.public_key());
    }
}
