//! Kinds of data sets that this validator knows (PROTOCOL.md §6 rows 5 and 6).

use crate::profile::Profile;

/// A kind of data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatasetSpec {
    /// Its name in manifests.
    pub id: &'static str,
}

/// The only kind so far.
pub const VIDEO_V1: DatasetSpec = DatasetSpec { id: "video_v1" };

/// All kinds.
pub const SPECS: [DatasetSpec; 1] = [VIDEO_V1];

impl DatasetSpec {
    /// The kind of that name.
    pub fn by_id(id: &str) -> Option<Self> {
        SPECS.into_iter().find(|spec| spec.id == id)
    }

    /// Whether a manifest's versions fit.
    pub fn fits(self, protocol_version: &str, schema_version: &str, profile: &Profile) -> bool {
        protocol_version == profile.protocol_version && schema_version == profile.schema_version
    }
}
