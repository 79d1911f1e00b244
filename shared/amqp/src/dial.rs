//! How the driver comes by its streams: through [`nexis_runtime::tls::dial`], as every other driver here does, so that
//! TLS is made in one place. The driver's own TLS would bring a second way to read certificates, and a PKCS#12 reader
//! with ciphers nobody wants.

use crate::connection::AmqpOptions;
use async_compat::Compat;
use async_rs::traits::{Executor, Reactor, RuntimeKit};
use async_rs::util::Task;
use async_rs::{Runtime, Tokio};
use futures::Stream;
use futures::io::{AsyncRead, AsyncWrite};
use lapin::uri::{AMQPAuthority, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{AsyncTcpStream, Connection, ConnectionProperties};
use nexis_ports::QueueError;
use nexis_runtime::{Address, tls};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

/// Tokio, with streams that may be encrypted.
#[derive(Debug, Clone)]
struct Kit(Tokio);

impl RuntimeKit for Kit {}

impl Executor for Kit {
    type Task<T: Send + 'static> = <Tokio as Executor>::Task<T>;

    fn block_on<T, F: Future<Output = T>>(&self, future: F) -> T {
        self.0.block_on(future)
    }

    fn spawn<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        future: F,
    ) -> Task<Self::Task<T>> {
        self.0.spawn(future)
    }

    fn spawn_blocking<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(
        &self,
        work: F,
    ) -> Task<Self::Task<T>> {
        self.0.spawn_blocking(work)
    }
}

impl Reactor for Kit {
    type TcpStream = Compat<tls::Stream>;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Read + Write + AsFd + AsRawFd + Send + 'static>(
        &self,
        socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        self.0.register(socket)
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        let host = address.ip().to_string();
        Box::pin(async move {
            let dialled = tls::dial(&host, address.port(), None).await;
            dialled.map(Compat::new)
        })
    }
}

/// A connection to the broker.
pub(crate) async fn connect(
    options: &AmqpOptions,
    address: &Address,
    properties: ConnectionProperties,
) -> lapin::Result<Connection> {
    let uri = uri(address).map_err(|what| io::Error::new(io::ErrorKind::InvalidInput, what))?;
    let tls = is_encrypted(address).then(|| options.tls.clone());
    let place = uri.authority.clone();
    let dial = async move |_, _| {
        let stream = tls::dial(&place.host, place.port, tls.as_ref()).await?;
        Ok(AsyncTcpStream::Plain(Compat::new(stream)))
    };
    let runtime = Runtime::new(Kit(Tokio::current()));
    Connection::connector(uri, runtime, dial, properties).await
}

fn is_encrypted(address: &Address) -> bool {
    address.scheme() == "amqps"
}

/// The address as the driver takes it. It never sees the text: what it cannot read it would quote.
fn uri(address: &Address) -> Result<AMQPUri, String> {
    let scheme = if is_encrypted(address) {
        AMQPScheme::AMQPS
    } else {
        AMQPScheme::AMQP
    };
    let rest = format!("amqp://host{}", address.tail());
    let usual = AMQPAuthority::default();
    let login = |given: Option<&str>, usual: String| given.map_or(usual, str::to_owned);
    let userinfo = AMQPUserInfo {
        username: login(address.user(), usual.userinfo.username),
        password: login(address.password(), usual.userinfo.password),
    };
    Ok(AMQPUri {
        authority: AMQPAuthority {
            userinfo,
            host: address.host().to_owned(),
            port: address.port().unwrap_or_else(|| scheme.default_port()),
        },
        scheme,
        ..rest.parse::<AMQPUri>()?
    })
}

/// Whether an address names the virtual host with the empty name, as one that ends in a plain `/` does.
pub(crate) fn names_empty_vhost(address: &Address) -> bool {
    let path = address.tail().split('?').next();
    path == Some("/")
}

/// An address of the broker, or why it is none.
pub(crate) fn parse(url: &str) -> Result<Address, QueueError> {
    Address::parse(url, &nexis_runtime::config::AMQP_SCHEMES).map_err(|error| {
        QueueError::Refused(format!("its address cannot be read; expected {error}"))
    })
}
