//! One S3 client per endpoint and key pair, a bounded number of them, over one pool of connections.

use crate::endpoint::EndpointPattern;
use crate::transport::http_client;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Config, Credentials, Region, RequestChecksumCalculation,
    ResponseChecksumValidation, SharedHttpClient, StalledStreamProtectionConfig,
};
use nexis_ports::{BucketAccess, FetchError};
use std::collections::HashMap;
use std::sync::Mutex;

/// Twice a full subnet of 256 miners: rotated credentials do not push out the ones in use.
const MAX_CLIENTS: usize = 512;
#[derive(PartialEq, Eq, Hash, Clone)]
struct ClientKey {
    endpoint: String,
    access_key: String,
    secret_key: String,
}

#[derive(Default)]
struct Cache {
    clients: HashMap<ClientKey, (Client, u64)>,
    uses: u64,
}

/// The clients made so far.
pub(crate) struct Clients {
    pattern: EndpointPattern,
    http: SharedHttpClient,
    cache: Mutex<Cache>,
    capacity: usize,
}

impl Clients {
    pub fn new(pattern: EndpointPattern) -> Self {
        Self {
            pattern,
            http: http_client(),
            cache: Mutex::default(),
            capacity: MAX_CLIENTS,
        }
    }

    /// The client for that account and key pair.
    pub fn client(&self, access: &BucketAccess) -> Result<Client, FetchError> {
        let endpoint =
            self.pattern
                .endpoint(&access.account_id)
                .map_err(|error| FetchError::Unusable {
                    bucket: access.bucket.clone(),
                    reason: error.to_string(),
                })?;
        let key = ClientKey {
            endpoint,
            access_key: access.access_key.clone(),
            secret_key: access.secret_key.clone(),
        };
        let mut cache = self
            .cache
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        cache.uses += 1;
        let now = cache.uses;
        if let Some((client, last_use)) = cache.clients.get_mut(&key) {
            *last_use = now;
            return Ok(client.clone());
        }
        if cache.clients.len() >= self.capacity {
            let oldest = cache.clients.iter().min_by_key(|(_, (_, used))| *used);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                cache.clients.remove(&oldest);
            }
        }
        let client = self.make(&key);
        cache.clients.insert(key, (client.clone(), now));
        Ok(client)
    }

    fn make(&self, key: &ClientKey) -> Client {
        let credentials = Credentials::new(
            &key.access_key,
            &key.secret_key,
            None,
            None,
            "nexis-commitment",
        );
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("auto"))
            .endpoint_url(&key.endpoint)
            .force_path_style(true)
            .credentials_provider(credentials)
            .http_client(self.http.clone())
            // Retries, stalls and the total time are ours: one budget rules them all.
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            // R2 and other stores do not implement every checksum that the SDK would add by itself.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .build();
        Client::from_conf(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(number: usize) -> BucketAccess {
        BucketAccess {
            bucket: "b".into(),
            account_id: "a".into(),
            access_key: format!("key{number}"),
            secret_key: "secret".into(),
        }
    }

    #[test]
    fn the_least_recently_used_client_makes_room() {
        let mut clients = Clients::new("http://127.0.0.1:1".parse().unwrap());
        clients.capacity = 2;
        for number in [0, 1, 0, 2] {
            clients.client(&access(number)).unwrap();
        }
        let cache = clients.cache.lock().unwrap();
        let mut kept: Vec<_> = cache
            .clients
            .keys()
            .map(|k| k.access_key.as_str())
            .collect();
        kept.sort_unstable();
        assert_eq!(kept, ["key0", "key2"]);
    }

    #[test]
    fn an_account_id_that_is_no_host_name_is_refused_before_any_request() {
        let clients = Clients::new(EndpointPattern::default());
        let hostile = BucketAccess {
            account_id: "x.evil/".into(),
            ..access(0)
        };
        assert!(matches!(
            clients.client(&hostile),
            Err(FetchError::Unusable { .. })
        ));
    }
}
