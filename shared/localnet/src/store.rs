//! An S3 store on loopback with accounts that may read or write single buckets.

use crate::accept;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use nexis_bucket::BucketAccess;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::path::S3Path;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3Result, s3_error};
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, RwLock};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

/// What an account may do in its bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// Get, head, list.
    Read,
    /// Everything.
    Write,
}

struct Account {
    secret_key: String,
    bucket: String,
    grant: Grant,
}

type Accounts = Arc<RwLock<HashMap<String, Account>>>;

/// Starting the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreStartError {
    /// The folder for the objects.
    #[error("preparing the store's folder")]
    Folder(#[source] std::io::Error),
    /// The embedded file store refuses its folder.
    #[error("opening the store's folder: {0}")]
    Open(String),
    /// No port.
    #[error("opening a port for the store")]
    Listen(#[source] std::io::Error),
}

/// The running store; it stops when this is dropped.
pub struct S3Server {
    address: SocketAddr,
    accounts: Accounts,
    _running: DropGuard,
}

impl S3Server {
    /// Serves the objects below `root` on a free loopback port, or on `port` when it is not 0.
    pub async fn start(root: &Path, port: u16) -> Result<Self, StoreStartError> {
        std::fs::create_dir_all(root).map_err(StoreStartError::Folder)?;
        let files = s3s_fs::FileSystem::new(root)
            .map_err(|error| StoreStartError::Open(format!("{error:?}")))?;
        let accounts = Accounts::default();
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(Table(accounts.clone()));
        builder.set_access(Table(accounts.clone()));
        let service = builder.build();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .map_err(StoreStartError::Listen)?;
        let address = listener.local_addr().map_err(StoreStartError::Listen)?;
        let stop = CancellationToken::new();
        tokio::spawn(accept::serve(listener, stop.clone(), move |stream| {
            answer(stream, service.clone())
        }));
        Ok(Self {
            address,
            accounts,
            _running: stop.drop_guard(),
        })
    }

    /// Where it is. Serves as an endpoint pattern: all accounts share it.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Adds an account, or replaces the one with the same access key.
    pub fn grant(&self, access: &BucketAccess, grant: Grant) {
        let account = Account {
            secret_key: access.secret_key.clone(),
            bucket: access.bucket.clone(),
            grant,
        };
        let mut accounts = self
            .accounts
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        accounts.insert(access.access_key.clone(), account);
    }
}

async fn answer(stream: TcpStream, service: S3Service) {
    let server = Builder::new(TokioExecutor::new());
    if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(error, "a connection to the store ended");
    }
}

struct Table(Accounts);

#[async_trait::async_trait]
impl S3Auth for Table {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let accounts = self
            .0
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let account = accounts.get(access_key);
        account
            .map(|account| SecretKey::from(account.secret_key.as_str()))
            .ok_or_else(|| s3_error!(InvalidAccessKeyId))
    }
}

const READS: [&str; 6] = [
    "GetObject",
    "HeadObject",
    "ListObjects",
    "ListObjectsV2",
    "HeadBucket",
    "GetBucketLocation",
];

#[async_trait::async_trait]
impl S3Access for Table {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let denied = || s3_error!(AccessDenied, "this account may not do this here");
        let key = context
            .credentials()
            .map(|credentials| credentials.access_key.clone());
        let key = key.ok_or_else(denied)?;
        let bucket = match context.s3_path() {
            S3Path::Root => return Err(denied()),
            S3Path::Bucket { bucket } | S3Path::Object { bucket, .. } => bucket,
        };
        let accounts = self
            .0
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let account = accounts.get(&key).ok_or_else(denied)?;
        let reads = READS.contains(&context.s3_op().name());
        if account.bucket == **bucket && (reads || account.grant == Grant::Write) {
            Ok(())
        } else {
            Err(denied())
        }
    }
}
