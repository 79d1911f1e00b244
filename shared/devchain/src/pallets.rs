//! What the calls do, and what happens at each block: the parts of the runtime that a validator meets.

pub(crate) mod commitments;
pub(crate) mod drand;
pub(crate) mod epoch;
pub(crate) mod subnet;
pub(crate) mod weights;

use crate::runtime::Call;
use crate::state::{DispatchError, State};

/// The name under which a call that the chain does not carry out fails.
const FILTERED: DispatchError = DispatchError {
    pallet: "System",
    names: &["CallFiltered"],
};

/// Carries out a call.
pub(crate) fn dispatch(
    state: &mut State<'_>,
    who: &[u8; 32],
    call: &Call,
) -> Result<(), DispatchError> {
    match (call.pallet.as_str(), call.name.as_str()) {
        ("SubtensorModule", name) => {
            weights::dispatch(state, who, call, name).unwrap_or(Err(FILTERED))
        }
        ("Commitments", "set_commitment") => commitments::set(state, who, call),
        ("System", "remark") => Ok(()),
        _ => Err(FILTERED),
    }
}

/// The code with which the pool refuses a call (CHAIN.md §2.D), if it does.
pub(crate) fn pool_refusal(state: &State<'_>, who: &[u8; 32], call: &Call) -> Option<u8> {
    if call.pallet == "SubtensorModule" {
        weights::pool_refusal(state, who, call)
    } else {
        None
    }
}
