//! `amqps://` against a real broker: what may connect, and what the operator reads when it may not.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use nexis_amqp::topology::Topology;
use nexis_amqp::{AmqpOptions, AmqpQueue};
use nexis_ports::{Message, Queue, QueueError, Route};
use nexis_protocol::Netuid;
use nexis_runtime::tls::TlsOptions;
use nexis_testkit::{Authority, Identity, Life, RabbitMq, eventually, free_port};
use std::path::PathBuf;
use std::time::Duration;

/// The name in the broker's certificate; the address says 127.0.0.1.
const NAME: &str = "broker.test";

struct Bench {
    rabbit: RabbitMq,
    port: u16,
    authority: Authority,
    client: Identity,
}

impl Bench {
    fn start() -> Self {
        let authority = Authority::new();
        let server = authority.identity(NAME, Life::Good);
        let client = authority.identity("worker.test", Life::Good);
        let port = free_port();
        let file = |path: PathBuf| path.display().to_string();
        let rabbit = RabbitMq::start_with(&format!(
            "listeners.ssl.1 = 127.0.0.1:{port}\nssl_options.cacertfile = {}\nssl_options.certfile = {}\n\
             ssl_options.keyfile = {}\nssl_options.verify = verify_peer\n\
             ssl_options.fail_if_no_peer_cert = true\n",
            file(authority.ca_file()),
            file(server.cert_file),
            file(server.key_file),
        ));
        Self {
            rabbit,
            port,
            authority,
            client,
        }
    }

    /// All that is right.
    fn right(&self) -> TlsOptions {
        TlsOptions {
            ca_file: Some(self.authority.ca_file()),
            cert_file: Some(self.client.cert_file.clone()),
            key_file: Some(self.client.key_file.clone()),
            server_name: Some(NAME.to_owned()),
            ..TlsOptions::new("NEXIS_AMQP")
        }
    }

    async fn connect(&self, port: u16, tls: TlsOptions) -> Result<AmqpQueue, QueueError> {
        let url = format!("amqps://guest:guest@127.0.0.1:{port}/%2f");
        AmqpQueue::connect(AmqpOptions {
            tls,
            ..AmqpOptions::new(url, Topology::new(Netuid::new(70)))
        })
        .await
    }

    /// It is refused for good, with a sentence that names the setting.
    async fn refused(&self, port: u16, tls: TlsOptions, setting: &str, why: &str) {
        let mut refused = self.connect(port, tls.clone()).await.err().unwrap();
        // A broker that closes before it has read all that we sent resets the connection, and its alert can be lost on
        // the way; whoever meets that connects again.
        for _ in 0..20 {
            if !matches!(refused, QueueError::Unavailable(_)) {
                break;
            }
            refused = self.connect(port, tls.clone()).await.err().unwrap();
        }
        assert!(matches!(refused, QueueError::Refused(_)), "{refused}");
        let said = refused.to_string();
        assert!(said.contains(setting) && said.contains(why), "{said}");
    }
}

#[tokio::test]
async fn a_broker_is_reached_over_tls_or_refused_with_the_setting_to_look_at() {
    let bench = Bench::start();
    let queue = bench.connect(bench.port, bench.right()).await.unwrap();
    queue.apply().await.unwrap();
    let body = vec![7; 1 << 20];
    let message = Message {
        id: "a".to_owned(),
        body: body.clone(),
        trace: None,
    };
    queue.publish(Route::Miner, vec![message]).await.unwrap();
    let mut deliveries = queue.consume(Route::Miner, 1).await.unwrap();
    assert_eq!(deliveries.next().await.unwrap().message.body, body);
    drop(deliveries);
    // Nothing was in clear: the plain port is another one.
    let connections = bench.rabbit.ctl(&["list_connections", "ssl"]);
    assert!(
        connections.contains("true") && !connections.contains("false"),
        "{connections}"
    );
    queue.close().await;

    let stranger = Authority::new();
    let right = || bench.right();
    let wrong_ca = TlsOptions {
        ca_file: Some(stranger.ca_file()),
        ..right()
    };
    bench
        .refused(bench.port, wrong_ca, "NEXIS_AMQP_CA_FILE", "no authority")
        .await;
    let system = TlsOptions {
        ca_file: None,
        ..right()
    };
    bench
        .refused(bench.port, system, "NEXIS_AMQP_CA_FILE", "")
        .await;
    let wrong_name = TlsOptions {
        server_name: None,
        ..right()
    };
    bench
        .refused(
            bench.port,
            wrong_name,
            "NEXIS_AMQP_SERVER_NAME",
            "another name",
        )
        .await;
    let no_identity = TlsOptions {
        cert_file: None,
        key_file: None,
        ..right()
    };
    bench
        .refused(
            bench.port,
            no_identity,
            "NEXIS_AMQP_CERT_FILE",
            "wants a certificate",
        )
        .await;
    let unknown = stranger.identity("worker.test", Life::Good);
    let unknown = TlsOptions {
        cert_file: Some(unknown.cert_file),
        key_file: Some(unknown.key_file),
        ..right()
    };
    bench
        .refused(
            bench.port,
            unknown,
            "NEXIS_AMQP_CERT_FILE",
            "does not accept",
        )
        .await;
    bench
        .refused(
            bench.rabbit.port(),
            right(),
            "NEXIS_AMQP_URL",
            "does not speak TLS",
        )
        .await;
    let missing = TlsOptions {
        ca_file: Some("/no/such/ca.pem".into()),
        ..right()
    };
    bench
        .refused(bench.port, missing, "NEXIS_AMQP_CA_FILE", "/no/such/ca.pem")
        .await;
    let no_pem = TlsOptions {
        key_file: Some(bench.authority.ca_file()),
        ..right()
    };
    bench
        .refused(bench.port, no_pem, "NEXIS_AMQP_KEY_FILE", "no private key")
        .await;

    // The broker reads its files again some time after they changed.
    bench.authority.identity(NAME, Life::Expired);
    bench.rabbit.ctl(&["eval", "ssl:clear_pem_cache()."]);
    eventually(Duration::from_secs(30), async || {
        bench.connect(bench.port, right()).await.is_err()
    })
    .await;
    bench
        .refused(bench.port, right(), "NEXIS_AMQP_URL", "expired")
        .await;
}
