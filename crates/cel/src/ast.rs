//! What the parser makes of an expression. Macros are expanded into folds, as the language defines them, so that what is
//! checked, estimated and evaluated is one form.

/// A node; `at` is the offset in characters that errors point to.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    pub at: u32,
    /// How many levels there are from here down: whoever goes through them knows beforehand how deep it gets.
    pub depth: u16,
    pub kind: ExprKind,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(String),
    Bytes(Vec<u8>),
}

#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    Literal(Literal),
    Ident(String),
    Select {
        operand: Box<Expr>,
        field: String,
        /// `has(operand.field)`
        test: bool,
        /// `operand.?field`
        optional: bool,
    },
    Call {
        function: String,
        target: Option<Box<Expr>>,
        args: Vec<Expr>,
    },
    /// Each with whether it was written `?item`.
    List(Vec<(bool, Expr)>),
    Map(Vec<(bool, Expr, Expr)>),
    Struct {
        name: String,
        fields: Vec<(bool, String, Expr)>,
    },
    Fold(Box<Fold>),
}

/// A loop over a list or a map with an accumulator: what every macro with a variable becomes.
#[derive(Clone, Debug, PartialEq)]
pub struct Fold {
    pub range: Expr,
    pub var: String,
    /// With two variables the first is the index or the key.
    pub var2: Option<String>,
    pub accu: String,
    pub init: Expr,
    pub cond: Expr,
    pub step: Expr,
    pub result: Expr,
}

impl ExprKind {
    fn children(&self) -> Box<dyn Iterator<Item = &Expr> + '_> {
        match self {
            Self::Literal(_) | Self::Ident(_) => Box::new(std::iter::empty()),
            Self::Select { operand, .. } => Box::new(std::iter::once(&**operand)),
            Self::Call { target, args, .. } => Box::new(target.as_deref().into_iter().chain(args)),
            Self::List(items) => Box::new(items.iter().map(|(_, item)| item)),
            Self::Map(entries) => Box::new(entries.iter().flat_map(|(_, key, value)| [key, value])),
            Self::Struct { fields, .. } => Box::new(fields.iter().map(|(_, _, value)| value)),
            Self::Fold(fold) => Box::new([&fold.range, &fold.init, &fold.cond, &fold.step, &fold.result].into_iter()),
        }
    }
}

impl Expr {
    /// How many nodes there are.
    pub fn count(&self) -> usize {
        1 + self.kind.children().map(Self::count).sum::<usize>()
    }

    pub fn new(at: u32, kind: ExprKind) -> Self {
        let deepest = kind.children().map(|child| child.depth).max().unwrap_or(0);
        Self { at, depth: deepest.saturating_add(1), kind }
    }

    pub fn call(at: u32, function: &str, args: Vec<Expr>) -> Self {
        Self::new(at, ExprKind::Call { function: function.into(), target: None, args })
    }

    pub fn ident(at: u32, name: &str) -> Self {
        Self::new(at, ExprKind::Ident(name.into()))
    }

    pub fn bool(at: u32, value: bool) -> Self {
        Self::new(at, ExprKind::Literal(Literal::Bool(value)))
    }

    pub fn int(at: u32, value: i64) -> Self {
        Self::new(at, ExprKind::Literal(Literal::Int(value)))
    }

    /// `a.b.c` where it is nothing but names.
    pub fn qualified(&self) -> Option<String> {
        match &self.kind {
            ExprKind::Ident(name) => Some(name.clone()),
            ExprKind::Select { operand, field, test: false, optional: false } => Some(format!("{}.{field}", operand.qualified()?)),
            _ => None,
        }
    }
}
