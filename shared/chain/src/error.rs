//! Why the chain could not be read or written.

use std::time::Duration;

/// A failure of reading from the chain, or of preparing something for it.
///
/// A submission that the chain itself refused is not one of these: that is an [`crate::Outcome`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// No endpoint answers.
    #[error("reaching the chain: {0}")]
    Unreachable(String),
    /// An endpoint took our question and did not answer in time.
    #[error("{what} got no answer within {after:?}")]
    Timeout {
        /// What was asked.
        what: String,
        /// The deadline that passed.
        after: Duration,
    },
    /// The gateway in front of the node limits us (HTTP 429/403, JSON-RPC -32004/-32005).
    #[error("the endpoint limits our requests: {0}; wait, or use an endpoint of your own")]
    RateLimited(String),
    /// The endpoint serves another chain.
    #[error(
        "{endpoint} serves the chain with genesis {found}, not {expected}: check the endpoint, or \
         allow other chains in the settings"
    )]
    WrongGenesis {
        /// The endpoint.
        endpoint: String,
        /// Genesis hash that the settings call for.
        expected: String,
        /// Genesis hash that it has.
        found: String,
    },
    /// The state of that block is gone from the node; newer blocks can still be read.
    #[error("the node has discarded the state of {0}")]
    StatePruned(String),
    /// The node does not know the block (yet, or any more).
    #[error("the node does not know {0}")]
    UnknownBlock(String),
    /// There is no such subnet at the block that was read.
    #[error("subnet {0} does not exist at this block")]
    NoSuchSubnet(u16),
    /// The runtime has not got what we need under the name we know.
    #[error("the runtime lacks what we need: {0}; a newer version of this program may be needed")]
    Incompatible(String),
    /// The node refused the request.
    #[error("{what}: the node answered {code}: {message}")]
    Rpc {
        /// What was asked.
        what: String,
        /// JSON-RPC error code.
        code: i32,
        /// The node's words, with the error's data.
        message: String,
    },
    /// An answer does not have the shape we expect.
    #[error("reading {what}: {detail}")]
    Decode {
        /// What was read.
        what: String,
        /// What is wrong with it.
        detail: String,
    },
    /// What was to be sent breaks a rule of the chain.
    #[error("preparing {what}: {detail}")]
    Invalid {
        /// What was prepared.
        what: String,
        /// The rule.
        detail: String,
    },
    /// The last good snapshot could not be kept or read back.
    #[error("snapshot file {path}: {detail}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        detail: String,
    },
}

/// Starts the text of every error that [`crate::rpc::EndpointPool`] raises itself.
///
/// subxt hides the source of most of its errors, so that the text is all that is left of ours
/// once it has gone through subxt.
pub(crate) const POOL_MARK: &str = "no endpoint answered";
/// Starts the text of our own deadline errors.
pub(crate) const TIMEOUT_MARK: &str = "no answer within";

impl ChainError {
    /// Whether the same call may go through later.
    pub const fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unreachable(_)
                | Self::Timeout { .. }
                | Self::RateLimited(_)
                | Self::StatePruned(_)
                | Self::UnknownBlock(_)
        )
    }

    /// Sorts an error of a subxt operation.
    pub(crate) fn of(what: &str, error: impl Into<subxt::Error>) -> Self {
        let error = error.into();
        let missing = match &error {
            subxt::Error::StorageError(e) => matches!(
                e,
                subxt::error::StorageError::PalletNameNotFound(_)
                    | subxt::error::StorageError::StorageEntryNotFound { .. }
            ),
            subxt::Error::RuntimeApiError(e) => matches!(
                e,
                subxt::error::RuntimeApiError::TraitNotFound(_)
                    | subxt::error::RuntimeApiError::MethodNotFound { .. }
            ),
            subxt::Error::ExtrinsicError(e) => matches!(
                e,
                subxt::error::ExtrinsicError::PalletNameNotFound(_)
                    | subxt::error::ExtrinsicError::CallNameNotFound { .. }
            ),
            subxt::Error::ConstantError(e) => matches!(
                e,
                subxt::error::ConstantError::PalletNameNotFound(_)
                    | subxt::error::ConstantError::ConstantNameNotFound { .. }
            ),
            subxt::Error::OnlineClientAtBlockError(
                subxt::error::OnlineClientAtBlockError::BlockNotFound { .. }
                | subxt::error::OnlineClientAtBlockError::BlockHeaderNotFound { .. },
            ) => return Self::UnknownBlock(what.to_owned()),
            _ => false,
        };
        if missing {
            return Self::Incompatible(format!("{what}: {error}"));
        }
        Self::of_text(what, &error.to_string())
    }

    /// Sorts an error of a bare JSON-RPC request.
    pub(crate) fn of_rpc(what: &str, error: &subxt_rpcs::Error) -> Self {
        match error {
            subxt_rpcs::Error::User(user) => {
                match Self::of_text(what, &format!("{} ({})", user.message, user.code)) {
                    Self::Decode { .. } => Self::Rpc {
                        what: what.to_owned(),
                        code: user.code,
                        message: user.message.clone(),
                    },
                    sorted => sorted,
                }
            }
            other => Self::of_text(what, &other.to_string()),
        }
    }

    fn of_text(what: &str, text: &str) -> Self {
        if let Some(at) = text.find(POOL_MARK) {
            let detail = format!("{what}: {}", &text[at..]);
            return if text.contains("(-32004)") || text.contains("(-32005)") {
                Self::RateLimited(detail)
            } else {
                Self::Unreachable(detail)
            };
        }
        if text.contains("(-32004)") || text.contains("(-32005)") {
            return Self::RateLimited(format!("{what}: {text}"));
        }
        // Wordings of sc-client-api for a block outside the pruning window.
        if text.contains("State already discarded") || text.contains("state already discarded") {
            return Self::StatePruned(what.to_owned());
        }
        if text.contains("UnknownBlock")
            || text.contains("Unknown block")
            || text.contains("Header was not found")
        {
            return Self::UnknownBlock(what.to_owned());
        }
        if text.contains(TIMEOUT_MARK) || text.contains("RPC error: client error") {
            return Self::Unreachable(format!("{what}: {text}"));
        }
        Self::Decode {
            what: what.to_owned(),
            detail: text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pruned_state_is_told_apart_from_an_unknown_block() {
        let pruned = "Client error: Api called for an unknown Block: State already discarded for \
                      0x12 (4003)";
        assert_eq!(
            ChainError::of_text("block 7", pruned),
            ChainError::StatePruned("block 7".into())
        );
        assert!(matches!(
            ChainError::of_text(
                "x",
                "UnknownBlock: Header was not found in the database (4003)"
            ),
            ChainError::UnknownBlock(_)
        ));
    }

    #[test]
    fn gateway_policy_codes_are_rate_limits_and_not_outages() {
        for code in ["(-32004)", "(-32005)"] {
            let text = format!("storage work rate limit exceeded {code}");
            assert!(matches!(
                ChainError::of_text("x", &text),
                ChainError::RateLimited(_)
            ));
        }
    }
}
