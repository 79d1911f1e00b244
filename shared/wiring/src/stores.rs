use crate::WrongSetting;
use nexis_bucket::{BucketStore, EndpointPattern};
use nexis_ports::BucketAccess;
use nexis_runtime::Settings;
use nexis_runtime::config::Keys;
use nexis_vision::{VisionClient, VisionSettings};
use std::sync::Arc;

/// The store of miners' buckets.
pub fn bucket_store(settings: &Settings) -> Result<BucketStore, WrongSetting> {
    let pattern: EndpointPattern = settings
        .store
        .endpoint
        .parse()
        .map_err(|fault| WrongSetting::one(format!("NEXIS_R2_ENDPOINT: {fault}")))?;
    Ok(BucketStore::new(pattern))
}

pub(crate) fn model(settings: &Settings) -> Option<VisionSettings> {
    let vision = &settings.vision;
    let mut chosen = match (&vision.openai_api_key, &vision.gemini_api_key) {
        (Some(key), _) => VisionSettings::openai(key.expose().to_owned()),
        (None, Some(key)) => VisionSettings::gemini(key.expose().to_owned()),
        (None, None) => return None,
    };
    if let Some(url) = &vision.base_url {
        chosen.base_url.clone_from(url);
    }
    if let Some(name) = vision
        .semantic
        .model
        .as_ref()
        .or(vision.category.model.as_ref())
    {
        chosen.model.clone_from(name);
    }
    Some(chosen)
}

/// The vision model, when a key is set.
pub fn vision(settings: &Settings) -> Result<Option<Arc<VisionClient>>, WrongSetting> {
    let Some(chosen) = model(settings) else {
        return Ok(None);
    };
    let client = VisionClient::new(&chosen)
        .map_err(|fault| WrongSetting::one(format!("NEXIS_VISION_BASE_URL: {fault}")))?;
    Ok(Some(Arc::new(client)))
}

/// Access to a bucket of our own; `None` when account or keys are not set.
pub fn own_bucket(
    account: Option<&String>,
    bucket: &str,
    keys: Option<&Keys>,
) -> Option<BucketAccess> {
    let keys = keys?;
    Some(BucketAccess {
        bucket: bucket.to_owned(),
        account_id: account?.clone(),
        access_key: keys.access_key.expose().to_owned(),
        secret_key: keys.secret_key.expose().to_owned(),
    })
}

/// Access to our own package bucket, for `nexis check s3://…`.
pub fn package_bucket(settings: &Settings, bucket: &str) -> Option<BucketAccess> {
    let keys = settings
        .store
        .read
        .as_ref()
        .or(settings.store.write.as_ref());
    own_bucket(settings.store.account_id.as_ref(), bucket, keys)
}

/// Where the global overlap index is, and its key.
pub fn record_info(settings: &Settings) -> Option<(BucketAccess, String)> {
    let record = &settings.record_info;
    let keys = record.read.as_ref().or(record.write.as_ref());
    let access = own_bucket(record.account_id.as_ref(), &record.bucket, keys)?;
    Some((access, record.object_key.clone()))
}
