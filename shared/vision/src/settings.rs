use std::time::Duration;
use zeroize::Zeroize;

/// Which model to ask, and where. `Debug` hides the key; it is wiped when dropped.
#[derive(Clone)]
pub struct VisionSettings {
    /// Where the API is, up to but without `/chat/completions`.
    pub base_url: String,
    /// The model's name.
    pub model: String,
    /// Sent as a bearer token.
    pub api_key: String,
    /// Time for one call, answer included.
    pub timeout: Duration,
}

/// Why a model cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The base URL is not one.
    #[error(
        "vision base URL '{0}' is not usable: write it like https://api.openai.com/v1 or http://127.0.0.1:8000/v1"
    )]
    BaseUrl(String),
    /// The key is blank or has characters that cannot stand in a header.
    #[error("the vision API key is blank or holds characters that cannot be sent in a header")]
    Key,
    /// The machine has no certificates to trust.
    #[error("loading the machine's certificates: {0}; install ca-certificates")]
    Certificates(String),
}

impl VisionSettings {
    /// A model at any OpenAI-compatible address (vLLM, Ollama, ...).
    pub fn at(base_url: &str, model: &str, api_key: String) -> Self {
        Self {
            base_url: base_url.trim_end_matches('/').to_owned(),
            model: model.to_owned(),
            api_key,
            // A dozen frames take a large model a few seconds; a minute is a model that hangs.
            timeout: Duration::from_secs(60),
        }
    }

    /// OpenAI, as PROTOCOL §12 names it.
    pub fn openai(api_key: String) -> Self {
        Self::at("https://api.openai.com/v1", "gpt-4o", api_key)
    }

    /// Gemini through its OpenAI-compatible endpoint.
    pub fn gemini(api_key: String) -> Self {
        let base = "https://generativelanguage.googleapis.com/v1beta/openai";
        Self::at(base, "gemini-3.1-flash-lite-preview", api_key)
    }
}

impl std::fmt::Debug for VisionSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VisionSettings")
            .field("base_url", &self.base_url)
            .field("model", &self.model)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl Drop for VisionSettings {
    fn drop(&mut self) {
        self.api_key.zeroize();
    }
}
