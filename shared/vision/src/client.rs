use crate::call::{Caller, Fault};
use crate::prompt;
use crate::settings::{SettingsError, VisionSettings};
use bytes::Bytes;
use nexis_protocol::vision::{FrameScores, parse_category, parse_match};

/// Most frames that go with one caption (PROTOCOL §11).
const MAX_FRAMES: usize = 12;

/// Whether a caption fits (PROTOCOL §11).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaptionAnswer {
    /// It does.
    Match,
    /// It does not, or the model's answer was unusable, or the call was refused for good.
    Mismatch {
        /// For the operator and `explain`; never part of the verdict.
        why: String,
    },
    /// A passing fault: the row passes.
    Unasked {
        /// The fault.
        why: String,
    },
}

/// What the frames show (PROTOCOL §12).
#[derive(Debug, Clone, PartialEq)]
pub enum CategoryAnswer {
    /// Scores, to be judged by `nexis_protocol::vision::judge_category`.
    Scores(Box<[FrameScores; 3]>),
    /// The answer was unusable or the call was refused for good: `category_strict_response_invalid`.
    Invalid {
        /// For the operator.
        why: String,
    },
    /// A passing fault: the row passes.
    Unasked {
        /// The fault.
        why: String,
    },
}

/// Whether a caption alone speaks of the category (the gate in front of PROTOCOL §12, off by default).
pub type GateAnswer = CaptionAnswer;

/// Asks one model. Share it by reference; calls may run side by side.
pub struct VisionClient {
    caller: Caller,
    model: String,
}

impl std::fmt::Debug for VisionClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VisionClient")
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}

impl VisionClient {
    /// Prepares calls; sends nothing.
    pub fn new(settings: &VisionSettings) -> Result<Self, SettingsError> {
        Ok(Self {
            caller: Caller::new(settings)?,
            model: settings.model.clone(),
        })
    }

    /// The model's name.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Asks whether `caption` describes the JPEG `frames`, of which the first 12 are sent.
    ///
    /// Look for injection keywords (`nexis_protocol::vision::has_injection_keyword`) before: such a caption
    /// is refused without a call.
    pub async fn caption(&self, caption: &str, frames: &[Bytes]) -> CaptionAnswer {
        let frames = &frames[..frames.len().min(MAX_FRAMES)];
        let body = prompt::caption_check(&self.model, caption, frames);
        read_match(self.caller.ask(&body).await)
    }

    /// Asks what three JPEG frames show.
    pub async fn category(&self, frames: &[Bytes; 3]) -> CategoryAnswer {
        match self
            .caller
            .ask(&prompt::category_check(&self.model, frames))
            .await
        {
            Ok(text) => match parse_category(&text) {
                Some(scores) => CategoryAnswer::Scores(Box::new(scores)),
                None => CategoryAnswer::Invalid {
                    why: format!("unusable answer: {}", short(&text)),
                },
            },
            Err(Fault::Transient(why)) => CategoryAnswer::Unasked { why },
            Err(Fault::Failed(why)) => CategoryAnswer::Invalid { why },
        }
    }

    /// Asks whether a caption alone speaks of nature, landscape or scenery.
    pub async fn category_gate(&self, caption: &str) -> GateAnswer {
        read_match(
            self.caller
                .ask(&prompt::category_gate(&self.model, caption))
                .await,
        )
    }
}

fn read_match(answer: Result<String, Fault>) -> CaptionAnswer {
    match answer {
        Ok(text) => match parse_match(&text) {
            Some(true) => CaptionAnswer::Match,
            Some(false) => CaptionAnswer::Mismatch {
                why: "the model says so".to_owned(),
            },
            None => CaptionAnswer::Mismatch {
                why: format!("unusable answer: {}", short(&text)),
            },
        },
        Err(Fault::Transient(why)) => CaptionAnswer::Unasked { why },
        Err(Fault::Failed(why)) => CaptionAnswer::Mismatch { why },
    }
}

fn short(text: &str) -> String {
    text.chars().take(120).collect()
}
