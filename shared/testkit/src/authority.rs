use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// How long a certificate is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// For the time of any test.
    Good,
    /// It was.
    Expired,
}

/// Files of a certificate and its key.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The certificate, PEM.
    pub cert_file: PathBuf,
    /// Its key, PEM.
    pub key_file: PathBuf,
}

/// A certificate authority of a test, with files in a throw-away folder.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    /// A new one that nobody knows yet.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a throw-away folder");
        // No two have the same name.
        let name = format!("authority of {}", folder.path().display());
        let mut params = params(&name, &[], Life::Good);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).expect("written");
        Self {
            issuer: Issuer::new(params, key),
            folder,
        }
    }

    /// Its own certificate, PEM.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Signs a certificate for a server or client of this name; files of the same name are replaced.
    pub fn identity(&self, name: &str, life: Life) -> Identity {
        self.identity_in(&format!("{name}.pem"), name, life)
    }

    /// The same in a file of another name, to replace the certificate of a server that runs.
    pub fn identity_in(&self, file: &str, name: &str, life: Life) -> Identity {
        let mut params = params(name, &[name], life);
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let path = |file: &str| self.folder.path().join(file);
        let identity = Identity {
            cert_file: path(file),
            key_file: path(&format!("{file}.key")),
        };
        write(&identity.cert_file, &certificate.pem());
        write(&identity.key_file, &key.serialize_pem());
        identity
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("a file in the throw-away folder");
}

fn params(common_name: &str, names: &[&str], life: Life) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names that may stand in a certificate");
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = match life {
        Life::Good => date_time_ymd(2090, 1, 1),
        Life::Expired => date_time_ymd(2021, 1, 1),
    };
    params
}
