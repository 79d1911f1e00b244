//! Connections to servers, in clear or over TLS: rustls with the ring provider (ADR 0006), one place for all drivers.
//!
//! Files are read anew for every connection, so that a renewed certificate is used without a restart.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};
use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What a TLS connection is made with. The names of the settings are `PREFIX_CA_FILE` and so on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// `NEXIS_AMQP` or `NEXIS_REDIS`: errors name the setting to look at.
    pub prefix: &'static str,
    /// Certificates (PEM) of the authorities that may sign the server's; without it the system's.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate (PEM), with its chain.
    pub cert_file: Option<PathBuf>,
    /// Its key (PEM).
    pub key_file: Option<PathBuf>,
    /// The name that the server's certificate must have, when it is not the host of the address.
    pub server_name: Option<String>,
}

/// Why there is no TLS connection, for the operator: retrying does not mend it.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{setting}: cannot read {}: {source}", path.display())]
    File {
        /// The setting that names it.
        setting: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file has not what it should have.
    #[error("{setting}: {} holds no {what} in PEM form", path.display())]
    Content {
        /// The setting that names it.
        setting: String,
        /// The file.
        path: PathBuf,
        /// What should be there.
        what: &'static str,
    },
    /// The system knows no certificate authorities.
    #[error(
        "this system has no CA certificates (install ca-certificates), and {0}_CA_FILE is not set"
    )]
    NoRoots(&'static str),
    /// Certificate and key do not fit, or the like.
    #[error("{prefix}_CERT_FILE, {prefix}_KEY_FILE: certificate and key cannot be used: {source}")]
    Identity {
        /// Prefix of the settings.
        prefix: &'static str,
        /// Why.
        source: rustls::Error,
    },
    /// The name to check is none.
    #[error(
        "'{name}' is no server name: {prefix}_SERVER_NAME must be a host name or an IP address"
    )]
    Name {
        /// Prefix of the settings.
        prefix: &'static str,
        /// What was given.
        name: String,
    },
}

/// PEM texts, for a driver that makes its own connections.
#[derive(Clone, Default)]
pub struct Pem {
    /// Certificates of authorities.
    pub ca: Option<Vec<u8>>,
    /// Our certificate and key.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl TlsOptions {
    /// The usual settings of one server: the system's authorities, no certificate of our own.
    pub fn new(prefix: &'static str) -> Self {
        Self {
            prefix,
            ..Self::default()
        }
    }

    /// Names of the settings that are set, to say that they have no effect.
    pub fn set(&self) -> Vec<String> {
        let names = [
            ("CA_FILE", self.ca_file.is_some()),
            ("CERT_FILE", self.cert_file.is_some()),
            ("KEY_FILE", self.key_file.is_some()),
            ("SERVER_NAME", self.server_name.is_some()),
        ];
        let set = names.into_iter().filter(|(_, set)| *set);
        set.map(|(name, _)| self.setting(name)).collect()
    }

    fn setting(&self, name: &str) -> String {
        format!("{}_{name}", self.prefix)
    }

    fn read(&self, name: &str, path: &Path) -> Result<Vec<u8>, TlsError> {
        std::fs::read(path).map_err(|source| TlsError::File {
            setting: self.setting(name),
            path: path.to_owned(),
            source,
        })
    }

    fn certificates(
        &self,
        name: &str,
        path: &Path,
    ) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let text = self.read(name, path)?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        match found {
            Ok(certificates) if !certificates.is_empty() => Ok(certificates),
            _ => Err(TlsError::Content {
                setting: self.setting(name),
                path: path.to_owned(),
                what: "certificate",
            }),
        }
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        if let Some(path) = &self.ca_file {
            let (added, _) = roots.add_parsable_certificates(self.certificates("CA_FILE", path)?);
            if added == 0 {
                return Err(TlsError::Content {
                    setting: self.setting("CA_FILE"),
                    path: path.clone(),
                    what: "certificate of an authority",
                });
            }
        } else {
            let system = rustls_native_certs::load_native_certs();
            let (added, _) = roots.add_parsable_certificates(system.certs);
            if added == 0 {
                return Err(TlsError::NoRoots(self.prefix));
            }
        }
        Ok(roots)
    }

    fn identity(
        &self,
    ) -> Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>, TlsError> {
        let (Some(certificate), Some(key)) = (&self.cert_file, &self.key_file) else {
            return Ok(None);
        };
        let chain = self.certificates("CERT_FILE", certificate)?;
        let text = zeroize::Zeroizing::new(self.read("KEY_FILE", key)?);
        let key = PrivateKeyDer::from_pem_slice(&text).map_err(|_| TlsError::Content {
            setting: self.setting("KEY_FILE"),
            path: key.clone(),
            what: "private key",
        })?;
        Ok(Some((chain, key)))
    }

    /// Reads the files.
    pub fn client_config(&self) -> Result<ClientConfig, TlsError> {
        let ring = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(ring)
            .with_safe_default_protocol_versions()
            .expect("ring has suites for the versions that rustls thinks safe")
            .with_root_certificates(self.roots()?);
        match self.identity()? {
            None => Ok(config.with_no_client_auth()),
            Some((chain, key)) => {
                config
                    .with_client_auth_cert(chain, key)
                    .map_err(|source| TlsError::Identity {
                        prefix: self.prefix,
                        source,
                    })
            }
        }
    }

    /// The same files as they are, checked, for a driver that makes its own connections.
    pub fn pem(&self) -> Result<Pem, TlsError> {
        self.client_config()?;
        let read = |name: &str, path: &Option<PathBuf>| {
            let path = path.as_deref();
            path.map(|path| self.read(name, path)).transpose()
        };
        let certificate = read("CERT_FILE", &self.cert_file)?;
        Ok(Pem {
            ca: read("CA_FILE", &self.ca_file)?,
            identity: certificate.zip(read("KEY_FILE", &self.key_file)?),
        })
    }

    /// What a failed connection says to the operator when no retry mends it: the server's certificate, or ours.
    pub fn explain(&self, error: &(dyn Error + 'static)) -> Option<String> {
        let mut error = error;
        loop {
            if let Some(ours) = error.downcast_ref::<TlsError>() {
                return Some(ours.to_string());
            }
            if let Some(said) = error.downcast_ref::<rustls::Error>() {
                return self.sentence(said);
            }
            let inner = error
                .downcast_ref::<io::Error>()
                .and_then(io::Error::get_ref);
            error = match inner {
                Some(inner) => inner,
                None => error.source()?,
            };
        }
    }

    fn sentence(&self, error: &rustls::Error) -> Option<String> {
        let prefix = self.prefix;
        let why = match error {
            rustls::Error::InvalidCertificate(fault) => match fault {
                // A bad signature is one of another authority with the same name.
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    format!("no authority that we trust has signed it: set {prefix}_CA_FILE")
                }
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => {
                    format!(
                        "it has another name than the address: correct the address, or set {prefix}_SERVER_NAME"
                    )
                }
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    format!(
                        "it has expired (or this machine's clock is wrong): renew it on the server ({prefix}_URL)"
                    )
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    format!("it is not valid yet: check this machine's clock ({prefix}_URL)")
                }
                CertificateError::Revoked => {
                    format!("it is revoked: renew it on the server ({prefix}_URL)")
                }
                other => format!("{other} ({prefix}_URL, {prefix}_CA_FILE)"),
            },
            rustls::Error::AlertReceived(
                alert @ (AlertDescription::CertificateRequired
                | AlertDescription::BadCertificate
                | AlertDescription::UnknownCA
                | AlertDescription::CertificateUnknown
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateRevoked
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::AccessDenied
                | AlertDescription::HandshakeFailure),
            ) => {
                let state = if self.cert_file.is_some() {
                    "does not accept our certificate"
                } else {
                    "wants a certificate of ours"
                };
                return Some(format!(
                    "the server {state} ({alert:?}): check {prefix}_CERT_FILE and {prefix}_KEY_FILE"
                ));
            }
            rustls::Error::InvalidMessage(_) => {
                return Some(format!(
                    "the server does not speak TLS at this port: correct the port in {prefix}_URL, or its scheme"
                ));
            }
            _ => return None,
        };
        Some(format!("the server's certificate cannot be trusted: {why}"))
    }
}

/// A stream to a server.
#[derive(Debug)]
pub enum Stream {
    /// In clear.
    Plain(TcpStream),
    /// Over TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

/// Opens a stream; over TLS when there are options for it. An error that no retry mends has a [`TlsError`] or a
/// `rustls::Error` inside ([`TlsOptions::explain`]).
pub async fn dial(host: &str, port: u16, tls: Option<&TlsOptions>) -> io::Result<Stream> {
    // Settings first: a wrong file must not hide behind a server that does not answer.
    let prepared = tls.map(|options| prepare(host, options)).transpose();
    let prepared = prepared.map_err(io::Error::other)?;
    let stream = TcpStream::connect((host, port)).await.map_err(hinted)?;
    stream.set_nodelay(true)?;
    Ok(match prepared {
        None => Stream::Plain(stream),
        Some((connector, name)) => Stream::Tls(Box::new(connector.connect(name, stream).await?)),
    })
}

/// Too many open files, of this process or of the system.
const NO_MORE_FILES: [i32; 2] = [24, 23];

fn hinted(error: io::Error) -> io::Error {
    let too_many = |code| NO_MORE_FILES.contains(&code);
    if error.raw_os_error().is_some_and(too_many) {
        let text = format!("{error}: raise the limit of open files (`ulimit -n`, LimitNOFILE=)");
        return io::Error::new(error.kind(), text);
    }
    error
}

fn prepare(
    host: &str,
    options: &TlsOptions,
) -> Result<(TlsConnector, ServerName<'static>), TlsError> {
    let name = options.server_name.as_deref().unwrap_or(host);
    let server = ServerName::try_from(name.to_owned()).map_err(|_| TlsError::Name {
        prefix: options.prefix,
        name: name.to_owned(),
    })?;
    Ok((
        TlsConnector::from(Arc::new(options.client_config()?)),
        server,
    ))
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, bytes),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write_vectored(context, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
        }
    }
}
