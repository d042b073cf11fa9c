//! Which objects a list, a watch or a collection delete is about.

use super::view;
use crate::catalog::Resource;
use crate::conversion;
use crate::objects::Object;
use meta::{ApiError, fields, labels};
use std::sync::Arc;

#[derive(Clone)]
pub struct Selection {
    resource: Arc<Resource>,
    labels: labels::Selector,
    fields: fields::Selector,
}

impl Selection {
    pub fn parse(resource: &Arc<Resource>, label_selector: &str, field_selector: &str) -> Result<Self, ApiError> {
        let labels =
            labels::Selector::parse(label_selector).map_err(|e| ApiError::bad_request(format!("unable to parse requirement: {e}")))?;
        let fields = fields::Selector::parse(field_selector).map_err(|e| ApiError::bad_request(e.0))?;
        let known = resource.kind.selectable_fields();
        for requirement in &fields.requirements {
            let path = requirement.path.as_str();
            let served = matches!(path, "metadata.name" | "metadata.namespace") || known.iter().any(|f| f == path);
            if !served {
                let names = resource.kind.names();
                return Err(ApiError::bad_request(format!(
                    "Unable to find \"{}, Resource={}\" that match label selector \"{labels}\", field selector \"{fields}\": field label not supported: {path}",
                    names.group_version(),
                    names.plural,
                )));
            }
        }
        Ok(Self { resource: resource.clone(), labels, fields })
    }

    pub fn everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// As far as can be told of an object as it is cached; see [`Self::read`].
    pub fn matches(&self, object: &Object) -> bool {
        let known = |path: &str| is_metadata(path) || self.resource.conversion.is_none();
        self.labels.matches(|key| object.label(key)) && (self.fields.is_empty() || self.fields_match(object, known))
    }

    /// Whether fields are asked for that only the object in the served version has.
    pub fn is_of_served(&self) -> bool {
        self.resource.conversion.is_some() && self.fields.requirements.iter().any(|r| !is_metadata(&r.path))
    }

    /// The objects that match, as the served version shows them.
    pub async fn read(&self, objects: Vec<Arc<Object>>) -> Result<Vec<Arc<Object>>, ApiError> {
        let mut objects = conversion::read(&self.resource, objects).await?;
        if self.is_of_served() {
            objects.retain(|object| self.fields_match(object, |_| true));
        }
        Ok(objects)
    }

    fn fields_match(&self, object: &Object, known: impl Fn(&str) -> bool) -> bool {
        let header = &object.header;
        // A view may name its fields otherwise than the version that is kept.
        let mut tree = None;
        self.fields.requirements.iter().filter(|r| known(&r.path)).all(|requirement| {
            let path = requirement.path.as_str();
            let kept = if is_metadata(path) || !(self.resource.is_view() || self.resource.conversion.is_some()) {
                header.field(path)
            } else {
                None
            };
            let equal = match kept {
                Some(text) => text == requirement.value,
                None => {
                    let tree = tree.get_or_insert_with(|| view::served(&self.resource, &object.bytes));
                    self.resource.kind.selectable(tree, path) == requirement.value
                }
            };
            equal == (requirement.operator == fields::Operator::Equals)
        })
    }

    /// The one name that can match, if there is one.
    pub fn name(&self) -> Option<&str> {
        self.fields.required("metadata.name")
    }

    /// A namespace that the fields demand.
    pub fn namespace(&self) -> Option<&str> {
        self.fields.required("metadata.namespace")
    }
}

fn is_metadata(path: &str) -> bool {
    path.starts_with("metadata.")
}
