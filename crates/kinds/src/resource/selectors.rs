//! Expressions that select devices.

use cel::schema::{self, Declared};
use cel::{Environment, Type};
use meta::{FieldErrors, FieldPath};
use serde_json::json;
use std::sync::LazyLock;

const COST_MAX: u64 = 1_000_000;
/// A device has so many attributes, and so many capacities.
const PER_DEVICE: u64 = 32;

/// The type of `device`.
static DEVICE: LazyLock<Type> = LazyLock::new(|| {
    let by_domain = |inner: Type| Type::map(Type::String, Type::map(Type::String, inner));
    let fields = [
        ("driver", Type::String),
        ("attributes", by_domain(Type::Dyn)),
        ("capacity", by_domain(Type::Opaque("kubernetes.Quantity"))),
        ("allowMultipleAllocations", Type::Bool),
    ];
    Type::object("kubernetes.DRADevice", fields.map(|(name, ty)| (name.to_string(), ty)))
});

/// How large a device may be.
static SIZES: LazyLock<Option<Declared>> = LazyLock::new(|| {
    let by_domain = || {
        let inner = json!({"type": "object", "maxProperties": PER_DEVICE, "additionalProperties": {"type": "string", "maxLength": 16}});
        json!({"type": "object", "maxProperties": PER_DEVICE, "additionalProperties": inner})
    };
    let properties = json!({"driver": {"type": "string", "maxLength": 16}, "attributes": by_domain(), "capacity": by_domain()});
    schema::declare(&json!({"type": "object", "properties": properties}), false, "device")
});

pub fn check(source: &str, at: &FieldPath, errors: &mut FieldErrors) {
    let environment = Environment::new().with_bindings().with_variable("device", DEVICE.clone());
    let program = match environment.compile(source) {
        Ok(program) => program,
        Err(error) => return errors.invalid(at, source, &format!("compilation failed: {error}")),
    };
    if !matches!(program.ty(), Type::Bool | Type::Dyn) {
        return errors.invalid(at, source, &format!("must evaluate to bool or the unknown type, not {}", program.ty()));
    }
    if let Some(sizes) = &*SIZES
        && program.estimate(sizes).max > COST_MAX
    {
        errors.forbidden(at, "too complex, exceeds cost limit");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_about_a_device_and_bounded() {
        let wrong = |source: &str| {
            let mut errors = FieldErrors::new();
            check(source, &FieldPath::new("x"), &mut errors);
            errors.0.first().map(|e| e.body.clone()).unwrap_or_default()
        };
        for good in [
            r#"device.driver == "dra.example.com""#,
            r#"device.attributes["dra.example.com"].oneBool"#,
            r#"device.capacity["dra.example.com"].memory.isGreaterThan(quantity("1Gi")) && !device.allowMultipleAllocations"#,
            r#"device.attributes["dra.example.com"].version.isGreaterThan(semver("1.0.0"))"#,
            r#"cel.bind(dra, device.attributes["dra.example.com"], dra.oneBool && dra.otherBool)"#,
        ] {
            assert_eq!(wrong(good), "", "{good}");
        }
        assert!(wrong("device.nothing").contains("compilation failed"), "{}", wrong("device.nothing"));
        assert!(wrong("device.driver").ends_with("must evaluate to bool or the unknown type, not string"));
        let attributes = r#"device.attributes["a"].all(x, "#;
        let nested = format!("{}true{}", attributes.repeat(5), ")".repeat(5));
        assert!(wrong(&nested).contains("too complex, exceeds cost limit"), "{}", wrong(&nested));
    }
}
