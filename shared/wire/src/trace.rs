//! Trace context in the W3C form, computed instead of drawn.
//!
//! A trace is one interval at one validator: every replica, and every restart of it, computes the same trace id, so
//! that a takeover in the middle of an interval goes on in the same trace. Ids of spans follow from their parent and
//! their name in the same way.

use nexis_protocol::{Digest, Hotkey, IntervalId, Netuid};
use std::fmt;

/// The place in a trace that something happens at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    trace: [u8; 16],
    span: [u8; 8],
}

impl TraceContext {
    /// The root of an interval's trace.
    pub fn of_interval(netuid: Netuid, validator: Option<&Hotkey>, interval: IntervalId) -> Self {
        let validator = validator.map_or("", Hotkey::as_str);
        let digest = Digest::of(format!("trace/{netuid}/{validator}/{interval}").as_bytes());
        Self {
            trace: first(&digest),
            span: last(&digest),
        }
    }

    /// A span below this one.
    pub fn child(&self, name: &str) -> Self {
        let digest = Digest::of(format!("{self}/{name}").as_bytes());
        Self {
            span: first(&digest),
            ..*self
        }
    }

    /// Reads a `traceparent` of any version; `None` when it is not one. Tracing is no reason to refuse a message.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, span) = (parts.next()?, parts.next()?, parts.next()?);
        let flags = parts.next()?;
        let is_other = version == "00" && parts.next().is_some();
        let known: [u8; 1] = bytes(version)?;
        let _: [u8; 1] = bytes(flags)?;
        let context = Self {
            trace: bytes(trace)?,
            span: bytes(span)?,
        };
        let is_void = known == [0xff] || context.trace == [0; 16] || context.span == [0; 8];
        (!is_void && !is_other).then_some(context)
    }

    /// The trace's id, 32 hex digits.
    pub fn trace_id(&self) -> String {
        hex(&self.trace)
    }

    /// The span's id, 16 hex digits.
    pub fn span_id(&self) -> String {
        hex(&self.span)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Flag 01: sampled. There are few enough jobs to keep them all.
        write!(f, "00-{}-{}-01", self.trace_id(), self.span_id())
    }
}

fn first<const N: usize>(digest: &Digest) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&digest.as_bytes()[..N]);
    bytes
}

fn last<const N: usize>(digest: &Digest) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&digest.as_bytes()[32 - N..]);
    bytes
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = |byte: &u8| [byte >> 4, byte & 15].map(|digit| DIGITS[usize::from(digit)]);
    bytes.iter().flat_map(digits).map(char::from).collect()
}

/// Lower-case hex of exactly this many bytes.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

const fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::TraceContext;
    use nexis_protocol::{IntervalId, Netuid};

    fn root(interval: u64) -> TraceContext {
        TraceContext::of_interval(Netuid::new(70), None, IntervalId::new(interval))
    }

    #[test]
    fn an_interval_has_one_trace_and_each_job_a_span_of_its_own_in_it() {
        assert_eq!(root(100), root(100));
        assert_ne!(root(100).trace_id(), root(150).trace_id());
        let (a, b) = (
            root(100).child("clip/100/x/1"),
            root(100).child("clip/100/x/2"),
        );
        assert_eq!(a.trace_id(), root(100).trace_id());
        assert_ne!(a.span_id(), b.span_id());
        assert_eq!(a, root(100).child("clip/100/x/1"));
    }

    #[test]
    fn what_is_written_reads_back_and_what_is_no_context_is_none() {
        let context = root(100).child("a");
        assert_eq!(TraceContext::parse(&context.to_string()), Some(context));
        let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
        let foreign = TraceContext::parse(&format!("00-{trace}-{span}-00")).expect("well-formed");
        assert_eq!(
            (foreign.trace_id(), foreign.span_id()),
            (trace.to_owned(), span.to_owned())
        );
        // A later version may have more parts.
        assert!(TraceContext::parse(&format!("01-{trace}-{span}-00-more")).is_some());
        for text in [
            String::new(),
            "00".to_owned(),
            format!("00-{trace}-{span}"),
            format!("00-{trace}-{span}-00-more"),
            format!("ff-{trace}-{span}-00"),
            format!("00-{}-{span}-00", trace.to_uppercase()),
            format!("00-{}-{span}-00", "0".repeat(32)),
            format!("00-{trace}-{}-00", "0".repeat(16)),
            format!("00-{trace}é-{span}-00"),
        ] {
            assert_eq!(TraceContext::parse(&text), None, "{text}");
        }
    }
}
