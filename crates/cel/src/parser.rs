//! Tokens to expressions, by recursive descent that goes only so deep.

use crate::ast::{Expr, ExprKind, Literal};
use crate::error::Issue;
use crate::lexer::{Token, tokens};
use crate::macros;

/// How many characters an expression may have.
const LENGTH: usize = 100_000;
/// How deep an expression may be nested.
const DEPTH: u32 = 250;
/// Kept for later by the language: no identifier may be one of them.
pub const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

pub fn parse(source: &str, bindings: bool) -> Result<Expr, Issue> {
    let chars: Vec<char> = source.chars().take(LENGTH + 1).collect();
    if chars.len() > LENGTH {
        let size = source.chars().count();
        return Err(Issue::new(0, format!("expression code point size exceeds limit: size: {size}, limit {LENGTH}")));
    }
    let mut parser = Parser { tokens: tokens(&chars)?, next: 0, depth: 0, bindings };
    let expr = parser.expr()?;
    match parser.peek() {
        Token::End => Ok(expr),
        _ => parser.unexpected("<EOF>"),
    }
}

struct Parser {
    tokens: Vec<(u32, Token)>,
    next: usize,
    depth: u32,
    /// Whether there is `cel.bind`.
    bindings: bool,
}

type Parsed = Result<Expr, Issue>;

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.next.min(self.tokens.len() - 1)].1
    }

    fn at(&self) -> u32 {
        self.tokens[self.next.min(self.tokens.len() - 1)].0
    }

    fn take(&mut self, sign: &str) -> Option<u32> {
        let at = self.at();
        matches!(self.peek(), Token::Sign(s) if *s == sign).then(|| {
            self.next += 1;
            at
        })
    }

    fn take_of(&mut self, signs: &[&'static str]) -> Option<(u32, &'static str)> {
        signs.iter().find_map(|sign| self.take(sign).map(|at| (at, *sign)))
    }

    fn expect(&mut self, sign: &str) -> Result<u32, Issue> {
        match self.take(sign) {
            Some(at) => Ok(at),
            None => self.unexpected(&format!("'{sign}'")),
        }
    }

    fn unexpected<T>(&self, wanted: &str) -> Result<T, Issue> {
        let found = match self.peek() {
            Token::End => "'<EOF>'".to_string(),
            Token::Sign(sign) => format!("'{sign}'"),
            Token::Ident(name) => format!("'{name}'"),
            Token::Literal(literal) => format!("'{literal:?}'"),
        };
        Err(Issue::new(self.at(), format!("Syntax error: mismatched input {found} expecting {wanted}")))
    }

    fn name(&mut self) -> Result<String, Issue> {
        match self.peek() {
            Token::Ident(name) => {
                let name = name.clone();
                self.next += 1;
                Ok(name)
            }
            _ => self.unexpected("IDENTIFIER"),
        }
    }

    fn expr(&mut self) -> Parsed {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(too_deep(self.at()));
        }
        let cond = self.logical(&["||"], "_||_", |p| p.logical(&["&&"], "_&&_", Self::relation))?;
        let expr = match self.take("?") {
            None => cond,
            Some(at) => {
                let yes = self.logical(&["||"], "_||_", |p| p.logical(&["&&"], "_&&_", Self::relation))?;
                self.expect(":")?;
                let no = self.expr()?;
                Expr::call(at, "_?_:_", vec![cond, yes, no])
            }
        };
        self.depth -= 1;
        bounded(expr)
    }

    /// A chain of one logical operator is balanced, so that a long one is not a deep one.
    fn logical(&mut self, sign: &[&'static str], name: &str, operand: impl Fn(&mut Self) -> Parsed) -> Parsed {
        let mut terms = vec![operand(self)?];
        let mut ops = Vec::new();
        while let Some((at, _)) = self.take_of(sign) {
            ops.push(at);
            terms.push(operand(self)?);
        }
        Ok(balance(name, &mut terms.into_iter(), &ops))
    }

    fn relation(&mut self) -> Parsed {
        self.chain(&["==", "!=", "<=", ">=", "<", ">", "in"], |p| p.chain(&["+", "-"], |p| p.chain(&["*", "/", "%"], Self::unary)))
    }

    fn chain(&mut self, signs: &[&'static str], operand: impl Fn(&mut Self) -> Parsed) -> Parsed {
        let mut left = operand(self)?;
        while let Some((at, sign)) = self.take_of(signs) {
            let right = operand(self)?;
            let name = if sign == "in" { "@in".to_string() } else { format!("_{sign}_") };
            left = bounded(Expr::call(at, &name, vec![left, right]))?;
        }
        Ok(left)
    }

    fn unary(&mut self) -> Parsed {
        let mut times = 0;
        let start = self.at();
        if self.take("!").is_some() {
            times += 1;
            while self.take("!").is_some() {
                times += 1;
            }
            let operand = self.member()?;
            return Ok(if times % 2 == 0 { operand } else { Expr::call(start, "!_", vec![operand]) });
        }
        while self.take("-").is_some() {
            times += 1;
        }
        if times > 0
            && let Token::Literal(literal @ (Literal::Int(_) | Literal::Double(_))) = self.peek()
        {
            let negated = match literal {
                Literal::Int(v) => Literal::Int(v.wrapping_neg()),
                Literal::Double(v) => Literal::Double(-v),
                _ => return self.unexpected("NUM_INT"),
            };
            self.next += 1;
            let literal = Expr::new(start, ExprKind::Literal(negated));
            let operand = self.postfix(literal)?;
            return Ok(if times % 2 == 1 { operand } else { Expr::call(start, "-_", vec![operand]) });
        }
        let operand = self.member()?;
        Ok(if times % 2 == 0 { operand } else { Expr::call(start, "-_", vec![operand]) })
    }

    fn member(&mut self) -> Parsed {
        let primary = self.primary()?;
        self.postfix(primary)
    }

    fn postfix(&mut self, mut expr: Expr) -> Parsed {
        loop {
            if let Some(at) = self.take(".") {
                let optional = self.take("?").is_some();
                let field = self.name()?;
                if !optional && let Some(at) = self.take("(") {
                    let args = self.list(")", Self::expr)?;
                    expr = macros::member(at, &field, expr, args, self.bindings)?;
                } else {
                    expr = Expr::new(at, ExprKind::Select { operand: Box::new(expr), field, test: false, optional });
                }
            } else if let Some(at) = self.take("[") {
                let optional = self.take("?").is_some();
                let index = self.expr()?;
                self.expect("]")?;
                expr = Expr::call(at, if optional { "_[?_]" } else { "_[_]" }, vec![expr, index]);
            } else if matches!(self.peek(), Token::Sign("{"))
                && let Some(name) = expr.qualified()
            {
                let at = self.expect("{")?;
                let fields = self.list("}", |p| {
                    let optional = p.take("?").is_some();
                    let field = p.name()?;
                    p.expect(":")?;
                    Ok((optional, field, p.expr()?))
                })?;
                expr = Expr::new(at, ExprKind::Struct { name, fields });
            } else {
                return Ok(expr);
            }
            expr = bounded(expr)?;
        }
    }

    /// Up to what closes it; a last comma is allowed.
    fn list<T>(&mut self, close: &str, item: impl Fn(&mut Self) -> Result<T, Issue>) -> Result<Vec<T>, Issue> {
        let mut all = Vec::new();
        loop {
            if self.take(close).is_some() {
                return Ok(all);
            }
            all.push(item(self)?);
            if self.take(",").is_none() {
                self.expect(close)?;
                return Ok(all);
            }
            if close == ")" && matches!(self.peek(), Token::Sign(")")) {
                return self.unexpected("an argument");
            }
        }
    }

    fn primary(&mut self) -> Parsed {
        let at = self.at();
        if let Token::Literal(literal) = self.peek() {
            let literal = literal.clone();
            if literal == Literal::Int(i64::MIN) {
                return Err(Issue::new(at, "invalid int literal"));
            }
            self.next += 1;
            return Ok(Expr::new(at, ExprKind::Literal(literal)));
        }
        if self.take("(").is_some() {
            let inner = self.expr()?;
            self.expect(")")?;
            return Ok(inner);
        }
        if self.take("[").is_some() {
            let items = self.list("]", |p| Ok((p.take("?").is_some(), p.expr()?)))?;
            return Ok(Expr::new(at, ExprKind::List(items)));
        }
        if self.take("{").is_some() {
            let entries = self.list("}", |p| {
                let optional = p.take("?").is_some();
                let key = p.expr()?;
                p.expect(":")?;
                Ok((optional, key, p.expr()?))
            })?;
            return Ok(Expr::new(at, ExprKind::Map(entries)));
        }
        let rooted = self.take(".").is_some();
        let name = self.name()?;
        if let Some(open) = self.take("(") {
            let args = self.list(")", Self::expr)?;
            return macros::global(open, &name, args);
        }
        if RESERVED.contains(&name.as_str()) {
            return Err(Issue::new(at, format!("reserved identifier: {name}")));
        }
        Ok(Expr::ident(at, &if rooted { format!(".{name}") } else { name }))
    }
}

fn too_deep(at: u32) -> Issue {
    Issue::new(at, format!("expression recursion limit exceeded: {DEPTH}"))
}

/// What is built in a loop is as deep as the loop went on.
fn bounded(expr: Expr) -> Parsed {
    if u32::from(expr.depth) > DEPTH { Err(too_deep(expr.at)) } else { Ok(expr) }
}

fn balance(name: &str, terms: &mut impl Iterator<Item = Expr>, ops: &[u32]) -> Expr {
    let middle = ops.len() / 2;
    match ops.get(middle) {
        None => terms.next().unwrap_or_else(|| Expr::bool(0, true)),
        Some(at) => {
            let left = balance(name, terms, &ops[..middle]);
            let right = balance(name, terms, &ops[middle + 1..]);
            Expr::call(*at, name, vec![left, right])
        }
    }
}
