//! Which type fits where another is wanted, and what stands for the types that are not known yet.

use crate::types::{ListType, Type};
use std::sync::Arc;

#[derive(Debug, Default)]
pub struct Inference {
    known: Vec<Option<Type>>,
    /// What was known before each thing learnt, to forget it again.
    trail: Vec<(u32, Option<Type>)>,
}

impl Inference {
    /// So many new unknowns; answers the first.
    pub fn fresh(&mut self, count: u32) -> u32 {
        let first = self.known.len() as u32;
        self.known.resize(self.known.len() + count as usize, None);
        first
    }

    /// What it is, as far as its outermost shape is known.
    pub fn shallow(&self, ty: &Type) -> Type {
        let mut ty = ty;
        while let Type::Param(n) = ty {
            match self.known.get(*n as usize) {
                Some(Some(known)) => ty = known,
                _ => break,
            }
        }
        ty.clone()
    }

    /// What it is, all through; what is still open is any type.
    pub fn settled(&self, ty: &Type) -> Type {
        match self.shallow(ty) {
            Type::Param(_) => Type::Dyn,
            Type::List(list) if has_param(&list.element) => {
                Type::List(Arc::new(ListType { element: self.settled(&list.element), kind: list.kind.clone() }))
            }
            Type::Map(map) if has_param(&map.0) || has_param(&map.1) => Type::map(self.settled(&map.0), self.settled(&map.1)),
            Type::Optional(inner) => Type::optional(self.settled(&inner)),
            Type::Type(inner) => Type::of_type(self.settled(&inner)),
            other => other,
        }
    }

    /// Whether all of `from` fit where `to` are wanted. Nothing is learnt where they do not.
    pub fn all_fit(&mut self, from: &[Type], to: &[Type]) -> bool {
        self.trail.clear();
        let fit = from.len() == to.len() && from.iter().zip(to).all(|(from, to)| self.unify(from, to));
        if !fit {
            while let Some((n, before)) = self.trail.pop() {
                self.known[n as usize] = before;
            }
        }
        fit
    }

    fn learn(&mut self, n: u32, ty: Type) {
        if let Some(known) = self.known.get_mut(n as usize) {
            self.trail.push((n, known.replace(ty)));
        }
    }

    pub fn fits(&mut self, from: &Type, to: &Type) -> bool {
        self.all_fit(std::slice::from_ref(from), std::slice::from_ref(to))
    }

    fn unify(&mut self, from: &Type, to: &Type) -> bool {
        let (a, b) = (self.shallow(from), self.shallow(to));
        match (&a, &b) {
            (Type::Param(x), Type::Param(y)) if x == y => true,
            (other, Type::Param(n)) | (Type::Param(n), other) => {
                if self.occurs(*n, other) {
                    return false;
                }
                self.learn(*n, other.clone());
                true
            }
            (Type::Dyn, _) => {
                self.widen(to);
                true
            }
            (_, Type::Dyn) => {
                self.widen(from);
                true
            }
            (Type::List(a), Type::List(b)) => self.unify(&a.element, &b.element),
            (Type::Map(a), Type::Map(b)) => self.unify(&a.0, &b.0) && self.unify(&a.1, &b.1),
            (Type::Optional(a), Type::Optional(b)) => self.unify(a, b),
            (Type::Type(_), Type::Type(_)) => true,
            (Type::Object(a), Type::Object(b)) => Arc::ptr_eq(a, b) || a.name == b.name,
            (Type::Null, other) | (other, Type::Null) => {
                matches!(other, Type::Null | Type::Object(_) | Type::Opaque(_) | Type::Optional(_) | Type::Timestamp | Type::Duration)
            }
            (a, b) => a == b,
        }
    }

    /// Where one stood for a certain type and meets any type, it stands for any.
    fn widen(&mut self, ty: &Type) {
        if let Type::Param(n) = ty {
            self.learn(*n, Type::Dyn);
        }
    }

    fn occurs(&self, n: u32, ty: &Type) -> bool {
        match self.shallow(ty) {
            Type::Param(m) => m == n,
            Type::List(list) => self.occurs(n, &list.element),
            Type::Map(map) => self.occurs(n, &map.0) || self.occurs(n, &map.1),
            Type::Optional(inner) | Type::Type(inner) => self.occurs(n, &inner),
            _ => false,
        }
    }
}

fn has_param(ty: &Type) -> bool {
    match ty {
        Type::Param(_) => true,
        Type::List(list) => has_param(&list.element),
        Type::Map(map) => has_param(&map.0) || has_param(&map.1),
        Type::Optional(inner) | Type::Type(inner) => has_param(inner),
        _ => false,
    }
}
