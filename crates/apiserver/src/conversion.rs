//! Between the versions of a kind.

use crate::catalog::Resource;
use crate::objects::Object;
use crate::verbs::view;
use async_trait::async_trait;
use meta::{ApiError, GroupVersion};
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;

/// Of a kind whose versions the server cannot convert by itself alone: what a definition says. Its objects are cached
/// in the version that they were stored in, whichever that is.
#[async_trait]
pub trait Conversion: Send + Sync + 'static {
    /// Objects, each in the version that it names, to `api_version`; in the same order.
    async fn convert(&self, objects: Vec<Value>, api_version: &str) -> Result<Vec<Value>, ApiError>;

    /// The same of objects as they are stored, for readers. What was read once need not be converted again.
    async fn read(&self, objects: Vec<Arc<Object>>, api_version: &str) -> Result<Vec<Arc<Object>>, ApiError>;

    /// The object is in that version already.
    fn is_of(&self, object: &Object, api_version: &str) -> bool;
}

/// Cached objects as this version's readers may see them.
pub async fn read(resource: &Resource, objects: Vec<Arc<Object>>) -> Result<Vec<Arc<Object>>, ApiError> {
    match &resource.conversion {
        Some(conversion) => conversion.read(objects, &resource.api_version).await,
        None => Ok(objects),
    }
}

pub async fn read_one(resource: &Resource, object: Arc<Object>) -> Result<Arc<Object>, ApiError> {
    let Some(conversion) = &resource.conversion else { return Ok(object) };
    let mut read = conversion.read(vec![object], &resource.api_version).await?;
    read.pop().ok_or_else(|| ApiError::internal("a conversion returned nothing"))
}

/// The version that objects are stored in, where a definition says how they get there.
fn storing(resource: &Resource) -> Cow<'_, str> {
    match resource.kind.stored_as() {
        Some(stored) => GroupVersion::new(stored.group, stored.version).to_string().into(),
        None => Cow::Borrowed(&resource.api_version),
    }
}

/// The object in the version that stores it.
pub async fn to_stored<'o>(resource: &Resource, object: &'o Value) -> Result<Cow<'o, Value>, ApiError> {
    let Some(conversion) = resource.conversion.as_ref().filter(|_| resource.is_view()) else { return Ok(Cow::Borrowed(object)) };
    let mut stored = conversion.convert(vec![object.clone()], &storing(resource)).await?;
    stored.pop().map(Cow::Owned).ok_or_else(|| ApiError::internal("a conversion returned nothing"))
}

/// It is stored in a version that no longer stores, and so is worth writing even unchanged.
pub fn is_stale(resource: &Resource, object: &Object) -> bool {
    resource.conversion.as_ref().is_some_and(|c| !c.is_of(object, &storing(resource)))
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
