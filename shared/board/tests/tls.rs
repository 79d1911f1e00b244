//! `rediss://` against real servers: what may connect, and what the operator reads when it may not.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use nexis_board::{RedisBoard, RedisOptions};
use nexis_ports::{Board, BoardError, Leadership};
use nexis_protocol::Netuid;
use nexis_runtime::tls::TlsOptions;
use nexis_testkit::{Authority, Identity, Life, Redis, eventually, free_port};
use std::time::Duration;

const NAME: &str = "redis.test";

/// A server that speaks TLS at this port and wants a certificate.
fn serve(authority: &Authority, identity: &Identity, port: u16) -> Redis {
    let (port, ca) = (port.to_string(), authority.ca_file().display().to_string());
    let (cert, key) = (
        identity.cert_file.display().to_string(),
        identity.key_file.display().to_string(),
    );
    let options = [
        "--tls-port",
        &port,
        "--tls-cert-file",
        &cert,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &ca,
        "--tls-auth-clients",
        "yes",
    ];
    Redis::start_with(&options)
}

async fn connect(port: u16, tls: TlsOptions) -> Result<RedisBoard, BoardError> {
    let options = RedisOptions {
        tls,
        ..RedisOptions::new(format!("rediss://127.0.0.1:{port}"), Netuid::new(70))
    };
    RedisBoard::connect(options).await
}

async fn refused(port: u16, tls: TlsOptions, setting: &str, why: &str) {
    let refused = connect(port, tls).await.err().unwrap();
    assert!(matches!(refused, BoardError::Refused(_)), "{refused}");
    let said = refused.to_string();
    assert!(said.contains(setting) && said.contains(why), "{said}");
}

#[tokio::test]
async fn a_board_is_reached_over_tls_or_refused_with_the_setting_to_look_at() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let port = free_port();
    let redis = serve(&authority, &authority.identity(NAME, Life::Good), port);
    let client = authority.identity("worker.test", Life::Good);
    let right = || TlsOptions {
        ca_file: Some(authority.ca_file()),
        cert_file: Some(client.cert_file.clone()),
        key_file: Some(client.key_file.clone()),
        server_name: Some(NAME.to_owned()),
        ..TlsOptions::new("NEXIS_REDIS")
    };
    let board = connect(port, right()).await.unwrap();
    let other = connect(port, right()).await.unwrap();
    let lead = board.campaign("a", Duration::from_secs(60)).await.unwrap();
    let Leadership::Leader(epoch) = lead else {
        panic!("an empty board has no leader")
    };
    // Hints come over TLS, too.
    other.changed(Duration::from_millis(10)).await;
    let (told, ()) = tokio::join!(
        tokio::time::timeout(Duration::from_secs(20), async {
            while other.fact("large").await.unwrap().is_none() {
                other.changed(Duration::from_secs(60)).await;
            }
        }),
        async {
            board
                .set_fact(epoch, "large", vec![7; 1 << 20])
                .await
                .unwrap();
        }
    );
    told.unwrap();

    let wrong_ca = TlsOptions {
        ca_file: Some(stranger.ca_file()),
        ..right()
    };
    refused(port, wrong_ca, "NEXIS_REDIS_CA_FILE", "no authority").await;
    let system = TlsOptions {
        ca_file: None,
        ..right()
    };
    refused(port, system, "NEXIS_REDIS_CA_FILE", "").await;
    let wrong_name = TlsOptions {
        server_name: None,
        ..right()
    };
    refused(port, wrong_name, "NEXIS_REDIS_SERVER_NAME", "another name").await;
    let no_identity = TlsOptions {
        cert_file: None,
        key_file: None,
        ..right()
    };
    refused(
        port,
        no_identity,
        "NEXIS_REDIS_CERT_FILE",
        "wants a certificate",
    )
    .await;
    let unknown = stranger.identity("worker.test", Life::Good);
    let unknown = TlsOptions {
        cert_file: Some(unknown.cert_file),
        key_file: Some(unknown.key_file),
        ..right()
    };
    refused(port, unknown, "NEXIS_REDIS_CERT_FILE", "does not accept").await;
    // A Redis in clear waits for the end of a line that does not come.
    let silent = connect(redis.port(), right()).await.err().unwrap();
    assert!(matches!(silent, BoardError::Unavailable(_)), "{silent}");
    assert!(silent.to_string().contains("Redis over TLS?"), "{silent}");

    let port = free_port();
    let _late = serve(
        &authority,
        &authority.identity("late.test", Life::Expired),
        port,
    );
    let late = TlsOptions {
        server_name: Some("late.test".to_owned()),
        ..right()
    };
    // The server is up when its plain port answers; the other one may take a moment.
    eventually(Duration::from_secs(20), async || {
        matches!(
            connect(port, late.clone()).await,
            Err(BoardError::Refused(_))
        )
    })
    .await;
    refused(port, late, "NEXIS_REDIS_URL", "expired").await;
}
