//! Which nodes to talk to, from the one setting `BT_NETWORK`.

use nexis_runtime::Address;
use nexis_runtime::address::AddressError;
use std::fmt;
use std::str::FromStr;

/// Genesis hash of finney, the main network (CHAIN.md §1). Pinned: we never sign for another
/// chain by accident.
pub const FINNEY_GENESIS: &str =
    "0x2f0555cc76fc2840a25a6ea3b9637146806f1f44b090c175ffde2a7e5ab36c03";

const SCHEMES: [&str; 2] = ["ws", "wss"];

const FINNEY: [&str; 3] = [
    "wss://entrypoint-finney.opentensor.ai:443",
    "wss://lite.chain.opentensor.ai:443",
    "wss://lite.sub.latent.to:443",
];
const TEST: [&str; 1] = ["wss://test.finney.opentensor.ai:443"];
const LOCAL: [&str; 1] = ["ws://127.0.0.1:9944"];

/// Address of one node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint(String);

impl Endpoint {
    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether what we read here may be read and changed on its way: no TLS, and not this machine.
    pub fn is_exposed(&self) -> bool {
        let Some(rest) = self.0.strip_prefix("ws://") else {
            return false;
        };
        let host = rest.split(['/', '?']).next().unwrap_or(rest);
        let host = host.rsplit_once(':').map_or(host, |(name, _)| name);
        !matches!(host, "localhost" | "127.0.0.1" | "[::1]")
    }
}

impl fmt::Display for Endpoint {
    /// Without user, password, path and query: those may be keys of a node provider.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Address::parse(&self.0, &SCHEMES) {
            Ok(address) => address.fmt(f),
            Err(_) => f.write_str("(hidden)"),
        }
    }
}

impl FromStr for Endpoint {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let text = text.trim();
        let address = Address::parse(text, &SCHEMES).map_err(|error| match error {
            // A name, not an address: names hold no keys.
            AddressError::Scheme(_) if is_name(text) => NetworkError::Unknown(text.to_owned()),
            error => NetworkError::BadUrl(error),
        })?;
        // The scheme in lower case, whatever it was written in.
        let rest = text.split_once("://").map_or("", |(_, rest)| rest);
        Ok(Self(format!("{}://{rest}", address.scheme())))
    }
}

fn is_name(text: &str) -> bool {
    text.len() <= 32 && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

/// Which chain an endpoint must serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GenesisRule {
    /// Only finney.
    Finney,
    /// Only the chain with this genesis hash (hex with 0x).
    Exactly(String),
    /// Whatever the first endpoint serves; the others must serve the same.
    Any,
}

/// A network as the operator names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Its nodes, best first.
    pub endpoints: Vec<Endpoint>,
    /// What they must serve. A URL gets [`GenesisRule::Finney`] too: another chain needs a setting.
    pub genesis: GenesisRule,
}

/// Why a text does not name a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// Not a known name and not a URL.
    #[error("'{0}' is not a network: use finney, test, local or ws:// and wss:// addresses")]
    Unknown(String),
    /// An address that we cannot use; not shown, since it may hold a provider's key.
    #[error("an address of a node cannot be read; expected {0}")]
    BadUrl(AddressError),
    /// Nothing there.
    #[error("no network is given: use finney, test, local or ws:// and wss:// addresses")]
    Empty,
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let known = |urls: &[&str]| urls.iter().map(|u| Endpoint((*u).to_owned())).collect();
        match text.trim() {
            "" => Err(NetworkError::Empty),
            "finney" => Ok(Self {
                endpoints: known(&FINNEY),
                genesis: GenesisRule::Finney,
            }),
            "test" => Ok(Self {
                endpoints: known(&TEST),
                genesis: GenesisRule::Any,
            }),
            "local" => Ok(Self {
                endpoints: known(&LOCAL),
                genesis: GenesisRule::Any,
            }),
            list => {
                let mut endpoints: Vec<Endpoint> = Vec::new();
                for part in list.split(',').map(str::trim).filter(|p| !p.is_empty()) {
                    let endpoint = part.parse()?;
                    if !endpoints.contains(&endpoint) {
                        endpoints.push(endpoint);
                    }
                }
                if endpoints.is_empty() {
                    return Err(NetworkError::Empty);
                }
                Ok(Self {
                    endpoints,
                    genesis: GenesisRule::Finney,
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_lists_of_addresses_become_endpoints_in_order() {
        let finney: Network = "finney".parse().unwrap();
        assert_eq!(finney.endpoints.len(), 3);
        assert_eq!(finney.genesis, GenesisRule::Finney);
        assert_eq!("test".parse::<Network>().unwrap().genesis, GenesisRule::Any);
        let own: Network = " wss://a.example:443/x?key=1, ws://127.0.0.1:9944,,"
            .parse()
            .unwrap();
        assert_eq!(own.endpoints[0].as_str(), "wss://a.example:443/x?key=1");
        assert_eq!(own.endpoints[1].as_str(), "ws://127.0.0.1:9944");
        assert_eq!(
            own.genesis,
            GenesisRule::Finney,
            "another chain needs a setting"
        );
    }

    #[test]
    fn what_is_not_a_network_is_refused_with_the_reason() {
        for bad in [
            "",
            " , ",
            "finey",
            "http://a",
            "wss://",
            "wss://a:99999",
            "ws://:9944",
            "ws://a b",
        ] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_endpoint_is_shown_without_its_keys() {
        let endpoint: Endpoint = "wss://user:secret@node.example:443/v1/abcdef?key=1"
            .parse()
            .unwrap();
        assert_eq!(endpoint.to_string(), "wss://node.example:443");
        let capitals: Endpoint = "WSS://node.example:443".parse().unwrap();
        assert_eq!(capitals.as_str(), "wss://node.example:443");
        for secret in [
            "wss://user:secret/tail@node.example",
            "wss://user:secret#tail@node.example",
            "https://user:secret@node.example",
            "user:secret@node.example",
            "wss://user:secret",
        ] {
            let refused = secret.parse::<Network>().unwrap_err().to_string();
            assert!(!refused.contains("secret"), "{refused}");
            assert!(!refused.contains("tail"), "{refused}");
        }
    }

    #[test]
    fn clear_text_to_another_machine_is_noticed() {
        assert!(
            "ws://10.0.0.7:9944"
                .parse::<Endpoint>()
                .unwrap()
                .is_exposed()
        );
        assert!(
            !"ws://127.0.0.1:9944"
                .parse::<Endpoint>()
                .unwrap()
                .is_exposed()
        );
        assert!(
            !"wss://10.0.0.7:9944"
                .parse::<Endpoint>()
                .unwrap()
                .is_exposed()
        );
    }
}
