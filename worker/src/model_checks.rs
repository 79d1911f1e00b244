//! The vision model's checks of one row (PROTOCOL §11, §12). The core judges; here only the pictures are put together
//! and the model is asked. A passing fault lets the row pass, as everywhere on the subnet.

use bytes::Bytes;
use nexis_protocol::reason::Reason;
use nexis_protocol::vision::{has_injection_keyword, judge_category, middle_three};
use nexis_vision::{CaptionAnswer, CategoryAnswer, VisionClient};
use nexis_wire::ClipJob;

/// The pictures of one row, by the names that the protocol gives them.
pub(crate) struct Pictures {
    /// Names in the order in which a model sees them; the first frame's may stand several times.
    pub names: Vec<String>,
    /// JPEGs from the clip, `caption_001.jpg` and so on.
    pub frames: Vec<Bytes>,
    /// The first-frame asset, when it is good.
    pub first: Option<Bytes>,
}

impl Pictures {
    fn named(&self, name: &str) -> Option<Bytes> {
        let place = self.names.iter().position(|known| known == name)?;
        self.frames
            .get(place)
            .cloned()
            .or_else(|| self.first.clone())
    }

    fn all(&self) -> Vec<Bytes> {
        self.names
            .iter()
            .filter_map(|name| self.named(name))
            .collect()
    }
}

/// PROTOCOL §11.
pub(crate) async fn caption(
    job: &ClipJob,
    vision: &VisionClient,
    pictures: &Pictures,
) -> Vec<Reason> {
    let clip_id = || job.clip_id.clone();
    if !job.check_caption {
        return Vec::new();
    }
    if has_injection_keyword(&job.caption) {
        return vec![Reason::CaptionSemanticInjectionKeyword { clip_id: clip_id() }];
    }
    match vision.caption(&job.caption, &pictures.all()).await {
        CaptionAnswer::Match => Vec::new(),
        CaptionAnswer::Unasked { why } => {
            tracing::warn!(
                clip.id = job.clip_id,
                why,
                "the caption could not be checked: the row passes"
            );
            Vec::new()
        }
        CaptionAnswer::Mismatch { why } => {
            tracing::info!(clip.id = job.clip_id, why, "caption refused");
            vec![Reason::CaptionSemanticMismatch { clip_id: clip_id() }]
        }
    }
}

/// PROTOCOL §12.
pub(crate) async fn category(
    job: &ClipJob,
    vision: &VisionClient,
    pictures: &Pictures,
) -> Vec<Reason> {
    let clip_id = || job.clip_id.clone();
    if !job.check_category {
        return Vec::new();
    }
    if job.rules.vision.category_caption_gate
        && let CaptionAnswer::Mismatch { why } = vision.category_gate(&job.caption).await
    {
        tracing::info!(clip.id = job.clip_id, why, "caption outside the category");
        return vec![Reason::CategoryCaptionReject { clip_id: clip_id() }];
    }
    let middle = middle_three(&pictures.names).and_then(|names| {
        Some([
            pictures.named(names[0])?,
            pictures.named(names[1])?,
            pictures.named(names[2])?,
        ])
    });
    let Some(middle) = middle else {
        return vec![Reason::CategoryStrictFramesMissing { clip_id: clip_id() }];
    };
    match vision.category(&middle).await {
        CategoryAnswer::Scores(scores) => {
            if judge_category(&scores, &job.rules.profile).accepted {
                return Vec::new();
            }
            vec![Reason::CategoryStrictReject { clip_id: clip_id() }]
        }
        CategoryAnswer::Unasked { why } => {
            tracing::warn!(
                clip.id = job.clip_id,
                why,
                "the category could not be checked: the row passes"
            );
            Vec::new()
        }
        CategoryAnswer::Invalid { why } => {
            tracing::info!(
                clip.id = job.clip_id,
                why,
                "the model's answer cannot be used"
            );
            vec![Reason::CategoryStrictResponseInvalid { clip_id: clip_id() }]
        }
    }
}
