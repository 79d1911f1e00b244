/// What a caller may do about a port's error. Retry, requeue and exit read this and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultClass {
    /// The outside is away or busy: the same call may go through later.
    Transient,
    /// The call cannot succeed as it is: wrong settings, refused credentials, a broken contract.
    Permanent,
    /// Somebody else leads now: stop writing.
    Fenced,
    /// We are stopping.
    Cancelled,
}
