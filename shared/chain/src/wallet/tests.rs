use super::*;

/// The well-known development words; their keys are public knowledge.
const WORDS: &str = "bottom drive obey lake curtain smoke basket hold race lonely fit walk";
/// Address of those words without derivation, as every Substrate tool shows it.
const ADDRESS: &str = "5DfhGyQdFobKM8NsWvEeAKk5EQQgYe9AydgJ7rMB6E1EqRzV";
const SEED: &str = "fac7959dbfe72f052e5a0c3c8d6530f202b02fd8f9f5ca3580ec8deb7797479e";

fn put(content: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let base = tempfile::tempdir().unwrap();
    let path = Wallet::path_of(base.path(), "w", "h").unwrap();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    (base, path)
}

fn load(content: &[u8]) -> Result<Wallet, WalletError> {
    let (base, _) = put(content);
    Wallet::load(base.path(), "w", "h", None)
}

#[test]
fn words_seed_and_private_key_open_the_same_hotkey() {
    let private = hex::encode(Wallet::from_uri("").unwrap().pair.secret.to_bytes());
    for content in [
        format!(r#"{{"secretPhrase":"{WORDS}","ss58Address":"{ADDRESS}","cryptoType":1}}"#),
        format!(r#"{{"secretSeed":"0x{SEED}"," ss58Address":"{ADDRESS}","cryptoType":"1"}}"#),
        format!(r#"{{"privateKey":"0x{private}","secretPhrase":null,"ss58Address":"{ADDRESS}"}}"#),
        WORDS.to_owned(),
        format!("0x{SEED}\n"),
        SEED.to_owned(),
    ] {
        let wallet = load(content.as_bytes()).unwrap();
        assert_eq!(wallet.hotkey().as_str(), ADDRESS, "{content}");
    }
}

#[test]
fn derived_development_keys_are_those_of_other_tools() {
    let alice = Wallet::from_uri("//Alice").unwrap();
    assert_eq!(
        alice.hotkey().as_str(),
        "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
    );
}

#[test]
fn a_file_whose_address_is_not_its_keys_is_refused() {
    let other = Wallet::from_uri("//Alice").unwrap();
    let content = format!(
        r#"{{"secretPhrase":"{WORDS}","ss58Address":"{}"}}"#,
        other.hotkey()
    );
    assert!(matches!(
        load(content.as_bytes()),
        Err(WalletError::AddressDiffers { .. })
    ));
}

#[test]
fn foreign_and_broken_files_are_refused_with_the_reason() {
    for (content, part) in [
        (
            r#"{"encoded":"x","encoding":{},"address":"5x"}"#,
            "polkadot.js",
        ),
        ("$ANSIBLE_VAULT;1.1;AES256\n00", "Ansible"),
        ("gAAAAABabc", "Fernet"),
        (
            r#"{"ss58Address":"5x","publicKey":"0x00"}"#,
            "only the public part",
        ),
        (
            r#"{"secretSeed":"0x12","ss58Address":"5x"}"#,
            "64 hex digits",
        ),
        (r#"{"secretPhrase":"twelve wrong words"}"#, "no mnemonic"),
        (
            &format!(r#"{{"secretPhrase":"{WORDS}","cryptoType":0}}"#),
            "not sr25519",
        ),
        ("{broken", "JSON"),
        ("", "neither JSON"),
        ("$NACLxxxx", "BT_PW_"),
    ] {
        let error = load(content.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(part), "{content}: {error}");
    }
    assert!(matches!(
        load(&[0xff, 0xfe, 0]),
        Err(WalletError::Malformed { .. })
    ));
}

#[test]
fn a_coldkey_is_never_opened() {
    let base = tempfile::tempdir().unwrap();
    let error = Wallet::open(&base.path().join("coldkey"), None).unwrap_err();
    assert!(matches!(error, WalletError::Coldkey(_)));
    // A coldkey copied under a hotkey's name is found by the public half beside it.
    let (base, path) = put(WORDS.as_bytes());
    let public = path
        .parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("coldkeypub.txt");
    fs::write(public, format!(r#"{{"ss58Address":"{ADDRESS}"}}"#)).unwrap();
    let error = Wallet::load(base.path(), "w", "h", None).unwrap_err();
    assert!(matches!(error, WalletError::Coldkey(_)));
}

#[test]
fn names_cannot_lead_out_of_the_folder() {
    for name in ["../x", "", "a/b", "..", ".hidden", "a\\b"] {
        assert!(
            Wallet::path_of(Path::new("/w"), name, "h").is_err(),
            "{name}"
        );
        assert!(
            Wallet::path_of(Path::new("/w"), "w", name).is_err(),
            "{name}"
        );
    }
}

#[test]
fn a_new_hotkey_is_written_once_for_its_owner_only_and_opens_again() {
    let base = tempfile::tempdir().unwrap();
    let made = Wallet::create(base.path(), "w", "h").unwrap();
    let path = made.path().unwrap().to_owned();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let opened = Wallet::load(base.path(), "w", "h", None).unwrap();
    assert_eq!(opened.hotkey(), made.hotkey());
    let json: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for key in [
        "accountId",
        "publicKey",
        "privateKey",
        "secretPhrase",
        "secretSeed",
        "ss58Address",
    ] {
        assert!(json[key].is_string(), "{key}");
    }
    assert_eq!(json["privateKey"].as_str().unwrap().len(), 130);
    assert!(matches!(
        Wallet::create(base.path(), "w", "h"),
        Err(WalletError::Exists(_))
    ));
    assert!(Wallet::open(&path.with_file_name("hpub.txt"), None).is_err());
}

#[test]
fn nothing_secret_is_shown() {
    let wallet = Wallet::from_uri("//Alice").unwrap();
    let shown = format!("{wallet:?}");
    assert!(
        shown.contains("5Grwva") && !shown.contains("pair") && shown.len() < 100,
        "{shown}"
    );
}

#[test]
fn signatures_verify_in_every_accepted_spelling_and_no_other() {
    let alice = Wallet::from_uri("//Alice").unwrap();
    let signature = alice.sign(b"GET|/x|00|1|n");
    assert!(verify(alice.hotkey(), b"GET|/x|00|1|n", &signature));
    assert!(!verify(alice.hotkey(), b"GET|/y|00|1|n", &signature));
    assert!(!verify(
        Wallet::from_uri("//Bob").unwrap().hotkey(),
        b"GET|/x|00|1|n",
        &signature
    ));
    assert!(!verify(alice.hotkey(), b"GET|/x|00|1|n", &signature[..63]));
    let hex = hex::encode(signature);
    assert!(verify_hex(
        alice.hotkey(),
        b"GET|/x|00|1|n",
        &format!(" 0x{} ", hex.to_uppercase())
    ));
    let wrapped = alice.sign(b"<Bytes>m</Bytes>");
    assert!(verify_hex(alice.hotkey(), b"m", &hex::encode(wrapped)));
    assert!(!verify_hex(alice.hotkey(), b"m", "zz"));
}

#[test]
fn the_password_variable_follows_the_tools() {
    let name = password_variable(Path::new("/home/u/.bittensor/wallets/w/hotkeys/h"));
    assert_eq!(name, "BT_PW__HOME_U__BITTENSOR_WALLETS_W_HOTKEYS_H");
    // "pw" xor "BT" = 0x32 0x23, base64 MiM=
    assert_eq!(decode_password("BT_PW_X", "MiM=").unwrap().as_str(), "pw");
    assert!(decode_password("BT_PW_X", "*").is_none());
}

#[test]
fn an_encrypted_hotkey_opens_with_its_password_only() {
    let content = format!(r#"{{"secretPhrase":"{WORDS}","ss58Address":"{ADDRESS}"}}"#);
    let sealed = file::seal_nacl(content.as_bytes(), "open sesame", [7; 24]).unwrap();
    let (base, _) = put(&sealed);
    let opened = Wallet::load(base.path(), "w", "h", Some("open sesame")).unwrap();
    assert_eq!(opened.hotkey().as_str(), ADDRESS);
    let wrong = Wallet::load(base.path(), "w", "h", Some("open")).unwrap_err();
    assert!(matches!(wrong, WalletError::WrongPassword(_)));
}
