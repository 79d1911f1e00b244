use super::{Address, AddressError, decoded, list};
use proptest::prelude::*;

const AMQP: [&str; 2] = ["amqp", "amqps"];
const REDIS: [&str; 2] = ["redis", "rediss"];

fn amqp(text: &str) -> Result<Address, AddressError> {
    Address::parse(text, &AMQP)
}

#[test]
fn parts_are_read_and_only_scheme_host_and_port_are_shown() {
    for (text, shown, user, password, tail) in [
        ("amqp://h", "amqp://h", None, None, ""),
        (
            "AMQPS://u:p@h.example:5671/%2f",
            "amqps://h.example:5671",
            Some("u"),
            Some("p"),
            "/%2f",
        ),
        (
            "amqp://u@h/v?heartbeat=5",
            "amqp://h",
            Some("u"),
            None,
            "/v?heartbeat=5",
        ),
        (
            "amqp://:p%2F%40%25@[::1]:1",
            "amqp://[::1]:1",
            Some(""),
            Some("p/@%"),
            "",
        ),
        (
            "amqp://u:p@ss:word@h",
            "amqp://h",
            Some("u"),
            Some("p@ss:word"),
            "",
        ),
        (" amqp://h_1:2/ ", "amqp://h_1:2", None, None, "/"),
    ] {
        let address = amqp(text).unwrap();
        assert_eq!(address.to_string(), shown, "{text}");
        assert_eq!(format!("{address:?}"), format!("Address({shown})"));
        assert_eq!(
            (address.user(), address.password(), address.tail()),
            (user, password, tail)
        );
    }
}

#[test]
fn what_is_not_certain_is_refused_with_what_to_write() {
    for (text, error) in [
        (
            "amqp://nexis:Hunter2/SecretTail@h:1/v",
            AddressError::Encoding,
        ),
        ("amqp://nexis:123/SecretTail@h:1/v", AddressError::Encoding),
        ("amqp://nexis:Hunter2?SecretTail@h", AddressError::Encoding),
        ("amqp://nexis:Hunter2#SecretTail@h", AddressError::Encoding),
        ("amqp://nexis:a@b/c@h", AddressError::Encoding),
        ("amqp://nexis:100%Secret@h", AddressError::Encoding),
        ("amqp://nexis:%ff@h", AddressError::Encoding),
        ("amqp://h#part", AddressError::Fragment),
        ("amqp://user:password", AddressError::Port),
        ("amqp://h:0", AddressError::Port),
        ("amqp://h:65536", AddressError::Port),
        ("amqp://", AddressError::Host),
        ("amqp://u:p@/v", AddressError::Host),
        ("amqp://u:p@h,h/v", AddressError::Host),
        ("amqp://[::g]", AddressError::Host),
        ("amqp://a b", AddressError::Blank),
        ("amqp://u:p\n@h", AddressError::Blank),
    ] {
        assert_eq!(amqp(text).unwrap_err(), error, "{text}");
    }
    for text in ["", "h", "http://h", "amqp:/h", "://h"] {
        assert!(matches!(amqp(text), Err(AddressError::Scheme(_))), "{text}");
    }
}

#[test]
fn a_list_is_split_where_an_address_begins() {
    let shown = |text: &str| {
        let addresses = list(text, &REDIS)?;
        Ok(addresses
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" "))
    };
    for (text, expected) in [
        (
            "redis://u:p@a:1, redis://:p@b:2/0",
            Ok("redis://a:1 redis://b:2"),
        ),
        ("redis://:Hunter2,more@a", Ok("redis://a")),
        ("redis://a,rediss://b", Ok("redis://a rediss://b")),
        ("redis://a,", Err(AddressError::Host)),
        ("redis://:Hunter2/x,y@a", Err(AddressError::Encoding)),
    ] {
        assert_eq!(shown(text), expected.map(str::to_owned), "{text}");
    }
}

proptest! {
    /// Whatever the password, written raw or encoded: no piece of it is shown, and what can be used is used unchanged.
    #[test]
    fn no_piece_of_a_password_is_ever_shown(password in "[!-~é]{6,24}", user in "[!-~]{6,12}", encoded: bool) {
        let write = |text: &str| if encoded {
            text.bytes().map(|byte| format!("%{byte:02X}")).collect()
        } else {
            text.to_owned()
        };
        let text = format!("amqp://{}:{}@broker.example:5672/%2f", write(&user), write(&password));
        match amqp(&text) {
            Err(error) => {
                prop_assert!(!encoded, "what is encoded is taken: {error}");
                let said = format!("{error} {error:?}");
                prop_assert!(pieces(&password).chain(pieces(&user)).all(|piece| !said.contains(&piece)), "{said}");
            }
            Ok(address) => {
                prop_assert_eq!(address.to_string(), "amqp://broker.example:5672");
                prop_assert_eq!(address.host(), "broker.example");
                if encoded {
                    prop_assert_eq!((address.user(), address.password()), (Some(&*user), Some(&*password)));
                }
                let taken = address.password().unwrap_or_default();
                for said in [taken.to_owned(), text.clone(), format!("{taken:?}"), format!("refused user '{user}': {taken}")] {
                    let shown = address.hide(&said);
                    prop_assert!(!shown.contains(taken), "{shown}");
                }
            }
        }
    }
}

/// Pieces of four characters; shorter ones are in any sentence.
fn pieces(secret: &str) -> impl Iterator<Item = String> {
    let letters: Vec<char> = secret.chars().collect();
    let pieces: Vec<String> = letters
        .windows(4)
        .map(|piece| piece.iter().collect())
        .collect();
    pieces.into_iter()
}

#[test]
fn escapes_are_decoded_or_refused() {
    assert_eq!(decoded("a%2Fb%C3%A9").as_deref(), Some("a/bé"));
    for broken in ["%", "%2", "%zz", "%+1", "%ff"] {
        assert_eq!(decoded(broken), None, "{broken}");
    }
}
