//! What the chain says when it refuses, by name, and what to do about it.

use serde::{Deserialize, Serialize};
use subxt::transactions::{TransactionInvalid, TransactionUnknown, ValidationResult};

/// The chain said no.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Name of the error, as in the runtime.
    pub name: String,
    /// What the operator can do.
    pub remedy: String,
    /// Block that holds the failed attempt; `None` when it was refused before inclusion.
    pub included_at: Option<u64>,
}

/// What to do about a refusal before signing again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Ask for a new nonce and the newest block, sign again: nothing of ours is in the pool.
    SignAgain,
    /// Tell the caller.
    Final,
}

impl Refusal {
    pub(crate) fn named(name: impl Into<String>) -> Self {
        let name = name.into();
        let remedy = remedy_of(&name).to_owned();
        Self {
            name,
            remedy,
            included_at: None,
        }
    }

    /// A refusal by an extrinsic that is in a block.
    pub(crate) fn included(name: impl Into<String>, block: u64) -> Self {
        Self {
            included_at: Some(block),
            ..Self::named(name)
        }
    }

    /// Whether trying again within this epoch can help by itself.
    pub fn may_pass_later(&self) -> bool {
        matches!(
            self.name.as_str(),
            "RateLimitExceeded"
                | "SettingWeightsTooFast"
                | "CommittingWeightsTooFast"
                | "SpaceLimitExceeded"
                | "ExhaustsResources"
                | "NeverIncluded"
                | "PriorityTooLow"
                | "CommitRevealEnabled"
                | "CommitRevealDisabled"
                | "InvalidRevealRound"
                | "Outdated"
                | "FutureNonce"
                | "BadSignature"
                | "AncientBirthBlock"
        )
    }
}

/// `InvalidTransaction::Custom(n)` of subtensor (CHAIN.md §2.D).
pub(crate) const fn custom_code(code: u8) -> &'static str {
    match code {
        0 => "ColdkeySwapAnnounced",
        1 => "NotEnoughStakeToSetWeights",
        2 => "BalanceTooLow",
        3 => "SubnetNotExists",
        4 => "HotkeyAccountDoesntExist",
        6 => "RateLimitExceeded",
        10 => "HotKeyNotRegisteredInNetwork",
        12 => "ServingRateLimitExceeded",
        15 => "InvalidRevealRound",
        16 => "CommitNotFound",
        17 => "CommitBlockNotInRevealRange",
        18 => "InputLengthsUnequal",
        19 => "HotKeyNotRegisteredInSubNet",
        21 => "ColdkeySwapDisputed",
        25 => "NonAssociatedColdKey",
        255 => "BadRequest",
        _ => "UnknownCustomError",
    }
}

/// What a validation says, when it is not "valid".
pub(crate) fn of_validation(result: &ValidationResult) -> Option<(Refusal, Verdict)> {
    let again = |name: &str| Some((Refusal::named(name), Verdict::SignAgain));
    let last = |name: String| Some((Refusal::named(name), Verdict::Final));
    match result {
        ValidationResult::Valid(_) => None,
        ValidationResult::Invalid(invalid) => match invalid {
            TransactionInvalid::Custom(code) if custom_code(*code) == "UnknownCustomError" => {
                last(format!("CustomError{code}"))
            }
            TransactionInvalid::Custom(code) => last(custom_code(*code).to_owned()),
            TransactionInvalid::Stale => again("Outdated"),
            TransactionInvalid::Future => again("FutureNonce"),
            // After a runtime upgrade the signed spec version is the wrong one.
            TransactionInvalid::BadProof => again("BadSignature"),
            TransactionInvalid::AncientBirthBlock => again("AncientBirthBlock"),
            other => last(format!("{other:?}")),
        },
        ValidationResult::Unknown(TransactionUnknown::Custom(code)) => {
            last(format!("UnknownCustomError{code}"))
        }
        ValidationResult::Unknown(other) => last(format!("{other:?}")),
    }
}

/// How the pool's answer to a submission is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PoolAnswer {
    /// Not in the pool.
    Refused(Refusal, Verdict),
    /// It may be in the pool (it says it has it already), or we cannot tell.
    Unclear(String),
}

/// Reads a JSON-RPC error of `author_submit…`. The message carries the error's data.
pub(crate) fn of_pool(code: i32, message: &str) -> PoolAnswer {
    let refused = |name: &str, verdict| PoolAnswer::Refused(Refusal::named(name), verdict);
    if let Some(at) = message.find("Custom error: ") {
        let digits: String = message[at + 14..]
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        return match digits.parse::<u8>() {
            Ok(code) if custom_code(code) != "UnknownCustomError" => {
                refused(custom_code(code), Verdict::Final)
            }
            _ => refused(&format!("CustomError{digits}"), Verdict::Final),
        };
    }
    match code {
        1010 if message.contains("outdated") => refused("Outdated", Verdict::SignAgain),
        1010 if message.contains("will be valid in the future") => {
            refused("FutureNonce", Verdict::SignAgain)
        }
        1010 if message.contains("bad signature") => refused("BadSignature", Verdict::SignAgain),
        1010 if message.contains("ancient birth block") => {
            refused("AncientBirthBlock", Verdict::SignAgain)
        }
        1010 if message.contains("exhaust") => refused("ExhaustsResources", Verdict::Final),
        1010 => refused("InvalidTransaction", Verdict::Final),
        1014 => refused("PriorityTooLow", Verdict::SignAgain),
        -32004 | -32005 => refused("GatewayLimit", Verdict::Final),
        1016 => refused("ImmediatelyDropped", Verdict::Final),
        1012 | 1013 => PoolAnswer::Unclear(format!("{message} ({code})")),
        _ => PoolAnswer::Unclear(format!("{message} ({code})")),
    }
}

fn remedy_of(name: &str) -> &'static str {
    match name {
        "RateLimitExceeded" | "SettingWeightsTooFast" | "CommittingWeightsTooFast" => {
            "wait until the rate limit ends: it counts blocks from the last change or commit"
        }
        "NotEnoughStakeToSetWeights" => "stake more on the hotkey: the subnet has a threshold",
        "NeuronNoValidatorPermit" => {
            "the hotkey has no validator permit: it needs more stake, and an epoch to pass"
        }
        "HotKeyNotRegisteredInSubNet"
        | "HotKeyNotRegisteredInNetwork"
        | "HotkeyAccountDoesntExist" => "register the hotkey on the subnet",
        "SubnetNotExists" | "MechanismDoesNotExist" => "check the subnet's number and the network",
        "IncorrectWeightVersionKey" => {
            "the subnet asks for a newer version of the validator: update the program"
        }
        "WeightVecLengthIsLow" => {
            "the subnet asks for weights of more miners than there are to pay"
        }
        "CommitRevealEnabled" => "commit-reveal was switched on: the next attempt commits",
        "CommitRevealDisabled" => "commit-reveal was switched off: the next attempt sets weights",
        "InvalidRevealRound" => "the reveal round has passed: check the clock of this machine",
        "IncorrectCommitRevealVersion" => "the chain has a newer scheme: update the program",
        "TooManyUnrevealedCommits" => "ten commits wait for their reveal: wait for the next epoch",
        "SpaceLimitExceeded" => "the commitment space of this epoch is used up: wait for the next",
        "UidVecContainInvalidOne" | "UidsLengthExceedUidsInSubNet" | "DuplicateUids" => {
            "the slots changed since the weights were made: the next attempt reads them anew"
        }
        "BadSignature" | "Outdated" | "FutureNonce" | "AncientBirthBlock" => {
            "signed for a state of the chain that has passed: the next attempt signs anew"
        }
        "PriorityTooLow" => {
            "another transaction of this hotkey waits in the pool: is the same hotkey used elsewhere?"
        }
        "SlotsChanged" => {
            "slots have other owners since: the next attempt maps hotkeys to slots anew"
        }
        "EpochOver" => {
            "too few blocks were left of the epoch: the next epoch has weights of its own"
        }
        "NeverIncluded" => "no block took it before it expired: the next attempt sends it again",
        "GatewayLimit" => "the endpoint limits our requests: use an endpoint of your own",
        "RuntimeIncompatible" => {
            "the runtime has changed in a way this program does not know: update"
        }
        "ColdkeySwapAnnounced" | "ColdkeySwapDisputed" => {
            "the coldkey is being swapped: finish that with the Bittensor tools first"
        }
        _ => "see the chain's documentation for this error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pool_errors_have_the_runtimes_names() {
        let PoolAnswer::Refused(refusal, verdict) =
            of_pool(1010, "Invalid Transaction: Custom error: 6")
        else {
            panic!("a custom error is a refusal")
        };
        assert_eq!(
            (refusal.name.as_str(), verdict),
            ("RateLimitExceeded", Verdict::Final)
        );
        assert!(refusal.may_pass_later() && refusal.remedy.contains("rate limit"));
        let PoolAnswer::Refused(refusal, _) =
            of_pool(1010, "Invalid Transaction: Custom error: 77")
        else {
            panic!("an unknown custom error is a refusal")
        };
        assert_eq!(refusal.name, "CustomError77");
    }

    #[test]
    fn stale_signatures_are_signed_again_and_duplicates_are_unclear() {
        for message in ["Transaction is outdated", "Transaction has a bad signature"] {
            assert!(matches!(
                of_pool(1010, message),
                PoolAnswer::Refused(_, Verdict::SignAgain)
            ));
        }
        assert!(matches!(
            of_pool(1014, "Priority is too low"),
            PoolAnswer::Refused(_, Verdict::SignAgain)
        ));
        assert!(matches!(
            of_pool(1013, "Transaction Already Imported"),
            PoolAnswer::Unclear(_)
        ));
        assert!(matches!(
            of_pool(1012, "temporarily banned"),
            PoolAnswer::Unclear(_)
        ));
    }

    #[test]
    fn a_runtime_upgrade_between_signing_and_validation_means_signing_again() {
        let bad = ValidationResult::Invalid(TransactionInvalid::BadProof);
        assert_eq!(
            of_validation(&bad).map(|(_, v)| v),
            Some(Verdict::SignAgain)
        );
        let custom = ValidationResult::Invalid(TransactionInvalid::Custom(15));
        let (refusal, verdict) = of_validation(&custom).unwrap();
        assert_eq!(
            (refusal.name.as_str(), verdict),
            ("InvalidRevealRound", Verdict::Final)
        );
    }
}
