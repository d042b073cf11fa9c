//! Between the versions of a kind.

use crate::catalog::Resource;
use crate::verbs::view;
use async_trait::async_trait;
use meta::ApiError;
use serde_json::Value;

/// Of a kind whose versions the server cannot convert by itself alone: what a definition says.
#[async_trait]
pub trait Conversion: Send + Sync + 'static {
    /// Objects, each in the version that it names, to `api_version`; in the same order.
    async fn convert(&self, objects: Vec<Value>, api_version: &str) -> Result<Vec<Value>, ApiError>;
}

/// An object as another version of its kind shows it.
pub async fn between(from: &Resource, to: &Resource, mut object: Value) -> Result<Value, ApiError> {
    if from.api_version == to.api_version {
        return Ok(object);
    }
    if let Some(conversion) = &from.conversion {
        let converted = conversion.convert(vec![object], &to.api_version).await?;
        return converted.into_iter().next().ok_or_else(|| ApiError::internal("a conversion returned nothing"));
    }
    if let Some(stored) = from.kind.stored_as() {
        (stored.to_stored)(&mut object);
    }
    if let Some(stored) = to.kind.stored_as() {
        (stored.from_stored)(&mut object);
    }
    view::identify(to, &mut object);
    Ok(object)
}
