//! What is signed, and credentials on the chain.

use super::*;

#[test]
fn signed_messages_agree() {
    each("auth_message", |_, case| {
        let request = SignedRequest {
            method: text_of(case, "method"),
            path: text_of(case, "path"),
            body_sha256: text_of(case, "body_sha256"),
            timestamp: case["timestamp"]
                .to_string()
                .replace('"', "")
                .parse()
                .unwrap(),
            nonce: text_of(case, "nonce"),
        };
        same(case, &request.message().as_str(), &text_of(case, "result"));
    });
}

#[test]
fn credentials_are_encoded_and_decoded() {
    each("r2_encode", |_, case| {
        let ours = credentials::concatenate(
            text_of(case, "account_id"),
            text_of(case, "read_access_key"),
            text_of(case, "read_secret_key"),
        );
        same(case, &ours.as_str(), &text_of(case, "result"));
    });
    each("r2_decode", |_, case| {
        let ours = credentials::ReadCredentials::decode(text_of(case, "payload"));
        same(case, &ours.is_err(), &case["result"].is_null());
        if let Ok(ours) = ours {
            same(
                case,
                &ours.account_id(),
                &text_of(&case["result"], "account_id"),
            );
            same(
                case,
                &ours.access_key(),
                &text_of(&case["result"], "read_access_key"),
            );
            same(
                case,
                &ours.secret_key(),
                &text_of(&case["result"], "read_secret_key"),
            );
            assert!(!format!("{ours:?}").contains(ours.secret_key()));
        }
    });
    each("r2_account_id", |_, case| {
        let value = text_of(case, "value");
        let ours = credentials::account_id(value);
        same(case, &ours.is_ok(), &case["valid"].as_bool().unwrap());
        let endpoint = credentials::r2_endpoint(value).ok();
        same(
            case,
            &endpoint.as_deref(),
            &case["endpoint"]["result"].as_str(),
        );
    });
    each("bucket_name", |_, case| {
        let ours = credentials::bucket_name(text_of(case, "hotkey"));
        same(case, &ours.as_str(), &text_of(case, "result"));
    });
}

#[test]
fn credentials_are_validated() {
    each("r2_credentials_validate", |_, case| {
        let hotkey = text_of(case, "hotkey");
        let part = |name: &str, honest: &str| {
            case["overrides"][name]
                .as_str()
                .map_or_else(|| honest.to_owned(), str::to_owned)
        };
        let account = part("account_id", "0123456789abcdef0123456789abcdef");
        let access = part("read_access_key", &"k".repeat(32));
        let secret = part("read_secret_key", &"s".repeat(64));
        let bucket = part("bucket_name", &hotkey.to_lowercase());
        let raises = |name: &str| case[name]["raises"].is_string();
        same(
            case,
            &credentials::account_id(&account).is_err(),
            &raises("validate_account_id"),
        );
        let lengths = credentials::check_key_lengths(&access, &secret);
        same(
            case,
            &lengths.is_err(),
            &raises("validate_read_key_lengths"),
        );
        let named = credentials::check_bucket_name(&bucket);
        same(case, &named.is_err(), &raises("validate_bucket_name"));
        let own = credentials::check_bucket_for(&bucket, hotkey);
        same(case, &own.is_err(), &raises("validate_bucket_for_hotkey"));
        let print = credentials::fingerprint(&account, &access, &secret).to_string();
        same(case, &print.as_str(), &text_of(case, "read_commitment"));
    });
}

/// Raw bytes of the first variant of the first field, as a SCALE decoder of the chain sees them.
fn first_field_bytes(value: &Value) -> Option<Vec<u8>> {
    let field = value["info"]["fields"].get(0)?.get(0)?.as_object()?;
    match field.values().next()? {
        Value::String(text) => Some(text.as_bytes().to_vec()),
        list => match list.get(0)? {
            Value::Array(bytes) => bytes
                .iter()
                .map(|byte| u8::try_from(byte.as_u64()?).ok())
                .collect(),
            bytes => hex_bytes(bytes["$hex"].as_str()?),
        },
    }
}

fn hex_bytes(text: &str) -> Option<Vec<u8>> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok())
        .collect()
}

#[test]
fn commitments_are_text_or_nothing() {
    each("r2_extract_commitment", |_, case| {
        let value = case["value"].get("value").unwrap_or(&case["value"]);
        let ours = first_field_bytes(value).and_then(|raw| credentials::commitment_text(&raw));
        same(case, &ours.as_deref(), &case["result"].as_str());
    });
}
