//! Names of keys. The part in braces decides the slot.

use nexis_protocol::{Hotkey, IntervalId, Netuid};

/// Names under one subnet's tag.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    subnet: String,
}

impl Keys {
    pub(crate) fn new(netuid: Netuid) -> Self {
        Self {
            subnet: format!("nexis:{netuid}"),
        }
    }

    fn lead(&self, name: &str) -> String {
        format!("{{{}}}:{name}", self.subnet)
    }

    /// Name of the holder; lives as long as the lease.
    pub(crate) fn lease(&self) -> String {
        self.lead("lease")
    }

    /// Newest epoch given out.
    pub(crate) fn epoch(&self) -> String {
        self.lead("epoch")
    }

    /// Intervals opened and not retired, a sorted set.
    pub(crate) fn rounds(&self) -> String {
        self.lead("rounds")
    }

    /// One fact.
    pub(crate) fn fact(&self, name: &str) -> String {
        self.lead(&format!("fact:{name}"))
    }

    /// Channel of hints; channels have no slot.
    pub(crate) fn channel(&self) -> String {
        format!("{}:changed", self.subnet)
    }

    /// Keys in the subnet's slot that only show what is allowed.
    pub(crate) fn probe(&self) -> Probe {
        let tag = format!("{{{}}}", self.subnet);
        let pattern = format!("{tag}:*");
        Probe::new(&tag, pattern)
    }

    /// The same in an interval's slot; no interval has this name.
    pub(crate) fn round_probe(&self) -> Probe {
        let tag = format!("{{{}:i:probe}}", self.subnet);
        Probe::new(&tag, format!("{{{}:i:*", self.subnet))
    }

    /// Names of one interval.
    pub(crate) fn round(&self, interval: IntervalId) -> RoundKeys {
        RoundKeys {
            tag: format!("{{{}:i:{interval}}}", self.subnet),
        }
    }
}

/// Keys of a string, a hash, a set and a sorted set that only show what is allowed.
#[derive(Debug, Clone)]
pub(crate) struct Probe {
    pattern: String,
    keys: [String; 4],
}

impl Probe {
    fn new(tag: &str, pattern: String) -> Self {
        let key = |kind: &str| format!("{tag}:probe:{kind}");
        Self {
            pattern,
            keys: [key("string"), key("hash"), key("set"), key("sorted")],
        }
    }

    /// String, hash, set, sorted set.
    pub(crate) fn keys(&self) -> &[String; 4] {
        &self.keys
    }

    /// The keys that are like these, as a rule for a user names them.
    pub(crate) fn pattern(&self) -> &str {
        &self.pattern
    }
}

/// Names under one interval's tag.
#[derive(Debug, Clone)]
pub(crate) struct RoundKeys {
    tag: String,
}

impl RoundKeys {
    /// Hash: stage, fence, plans, counters.
    pub(crate) fn meta(&self) -> String {
        format!("{}:meta", self.tag)
    }

    /// Set of hotkeys that a report is expected from.
    pub(crate) fn miners_wanted(&self) -> String {
        format!("{}:m:want", self.tag)
    }

    /// Hash of hotkey to report.
    pub(crate) fn miners_got(&self) -> String {
        format!("{}:m:got", self.tag)
    }

    /// Hash of hotkey to late report.
    pub(crate) fn miners_late(&self) -> String {
        format!("{}:m:late", self.tag)
    }

    /// Set of hotkeys that have sampled rows.
    pub(crate) fn clip_miners(&self) -> String {
        format!("{}:c:who", self.tag)
    }

    /// Bitmap of sampled rows of one miner.
    pub(crate) fn clips_wanted(&self, hotkey: &Hotkey) -> String {
        format!("{}:c:want:{hotkey}", self.tag)
    }

    /// Bitmap of rows with a counting verdict.
    pub(crate) fn clips_have(&self, hotkey: &Hotkey) -> String {
        format!("{}:c:have:{hotkey}", self.tag)
    }

    /// Hash of row to verdict of one miner.
    pub(crate) fn clips_got(&self, hotkey: &Hotkey) -> String {
        format!("{}:c:got:{hotkey}", self.tag)
    }

    /// Hash of `hotkey/row` to late verdict.
    pub(crate) fn clips_late(&self) -> String {
        format!("{}:c:late", self.tag)
    }
}
