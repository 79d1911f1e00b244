//! Passwords and TLS as the binary sees them: what is encrypted, and what its output never has.

use nexis_testkit::{Authority, Life, RabbitMq, free_port};
use std::path::Path;
use std::process::{Command, Output};

const CONFIG: i32 = 78;

fn topology(folder: &Path, what: &str, env: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nexis-scheduler"))
        .env_clear()
        .env("HOME", folder)
        .env(
            "NEXIS_LOG_LEVEL",
            "trace,lapin=trace,amq_protocol_tcp=trace",
        )
        .envs(env.iter().copied())
        .current_dir(folder)
        .args(["topology", what])
        .output()
        .expect("it runs")
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Pieces of four characters, as no line may have them.
fn pieces(secret: &str) -> Vec<String> {
    let letters: Vec<char> = secret.chars().collect();
    letters
        .windows(4)
        .map(|piece| piece.iter().collect())
        .collect()
}

#[test]
fn a_password_that_is_not_encoded_ends_the_start_and_no_piece_of_it_is_shown() {
    let folder = tempfile::tempdir().expect("a throw-away folder");
    for password in [
        "Hunter2/Quark7Zebra",
        "Hunter2#Quark7Zebra",
        "Hunter2?Quark7Zebra",
        "Hunter2@x/Quark7Zebra",
        "99/Quark7Zebra",
    ] {
        let url = format!("amqp://operator:{password}@127.0.0.1:1/%2f");
        let output = topology(folder.path(), "verify", &[("NEXIS_AMQP_URL", &url)]);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(CONFIG), "{said}");
        assert!(
            said.contains("NEXIS_AMQP_URL") && said.contains("%2F %3F %23 %40 %3A %25"),
            "{said}"
        );
        for piece in pieces(password) {
            assert!(!said.contains(&piece), "{piece} in {said}");
        }
        assert!(!said.contains("operator"), "{said}");
    }
}

#[test]
fn the_broker_is_reached_over_tls_with_an_encoded_password_that_no_line_shows() {
    let authority = Authority::new();
    let server = authority.identity("localhost", Life::Good);
    let port = free_port();
    let rabbit = RabbitMq::start_with(&format!(
        "listeners.ssl.1 = 127.0.0.1:{port}\nssl_options.certfile = {}\nssl_options.keyfile = {}\n",
        server.cert_file.display(),
        server.key_file.display()
    ));
    rabbit.ctl(&["add_user", "op/user", "Pa55/w#rd?@:%x"]);
    rabbit.ctl(&["set_permissions", "op/user", ".*", ".*", ".*"]);
    let folder = tempfile::tempdir().expect("a throw-away folder");
    let ca = authority.ca_file().display().to_string();
    let url = format!("amqps://op%2Fuser:Pa55%2Fw%23rd%3F%40%3A%25x@localhost:{port}/%2f");
    let run = |what: &str, more: (&str, &str)| {
        topology(folder.path(), what, &[("NEXIS_AMQP_URL", &url), more])
    };

    // The system's authorities are those of this file; ours is not among the real ones.
    for (what, more) in [
        ("apply", ("SSL_CERT_FILE", ca.as_str())),
        ("verify", ("NEXIS_AMQP_CA_FILE", ca.as_str())),
    ] {
        let output = run(what, more);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    }
    let stranger = Authority::new().ca_file();
    let unknown = run(
        "verify",
        ("NEXIS_AMQP_CA_FILE", &stranger.display().to_string()),
    );
    assert_eq!(unknown.status.code(), Some(CONFIG), "{}", said(&unknown));
    rabbit.ctl(&["change_password", "op/user", "another"]);
    let refused = run("verify", ("NEXIS_AMQP_CA_FILE", &ca));
    assert_eq!(refused.status.code(), Some(CONFIG), "{}", said(&refused));
    rabbit.ctl(&["add_user", "op2", "Pa55/w#rd?@:%x"]);
    let url = url.replace("op%2Fuser", "op2");
    let forbidden = topology(
        folder.path(),
        "verify",
        &[("NEXIS_AMQP_URL", &url), ("NEXIS_AMQP_CA_FILE", &ca)],
    );
    assert_eq!(
        forbidden.status.code(),
        Some(CONFIG),
        "{}",
        said(&forbidden)
    );
    for output in [&unknown, &refused, &forbidden] {
        let said = said(output);
        for secret in ["op/user", "op%2Fuser", "'op2'", "Pa55", "w#rd", "w%23rd"] {
            assert!(!said.contains(secret), "{secret} in {said}");
        }
        assert!(said.contains("amqps://localhost"), "{said}");
    }
}
