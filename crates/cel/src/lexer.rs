//! Characters to tokens.

use crate::ast::Literal;
use crate::error::Issue;

#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    Ident(String),
    Literal(Literal),
    Sign(&'static str),
    End,
}

const SIGNS: [&str; 24] =
    ["==", "!=", "<=", ">=", "&&", "||", "<", ">", "+", "-", "*", "/", "%", "!", "?", ":", ".", ",", "(", ")", "[", "]", "{", "}"];

/// The tokens, each with where it begins.
pub fn tokens(chars: &[char]) -> Result<Vec<(u32, Token)>, Issue> {
    let mut lexer = Lexer { chars, at: 0 };
    let mut all = Vec::new();
    loop {
        lexer.blank();
        let at = lexer.at as u32;
        let token = lexer.next()?;
        let end = token == Token::End;
        all.push((at, token));
        if end {
            return Ok(all);
        }
    }
}

struct Lexer<'s> {
    chars: &'s [char],
    at: usize,
}

impl Lexer<'_> {
    fn peek(&self, by: usize) -> Option<char> {
        self.chars.get(self.at + by).copied()
    }

    fn error<T>(&self, at: usize, message: impl Into<String>) -> Result<T, Issue> {
        Err(Issue::new(at as u32, format!("Syntax error: {}", message.into())))
    }

    fn blank(&mut self) {
        while let Some(c) = self.peek(0) {
            match c {
                ' ' | '\t' | '\r' | '\n' | '\x0c' => self.at += 1,
                '/' if self.peek(1) == Some('/') => {
                    while self.peek(0).is_some_and(|c| c != '\n') {
                        self.at += 1;
                    }
                }
                _ => return,
            }
        }
    }

    fn next(&mut self) -> Result<Token, Issue> {
        let Some(c) = self.peek(0) else { return Ok(Token::End) };
        if let Some((prefix, raw, bytes)) = self.string_prefix() {
            self.at += prefix;
            return self.string(raw, bytes);
        }
        if c.is_ascii_digit() || (c == '.' && self.peek(1).is_some_and(|c| c.is_ascii_digit())) {
            return self.number();
        }
        if c.is_ascii_alphabetic() || c == '_' {
            let start = self.at;
            while self.peek(0).is_some_and(|c| c.is_ascii_alphanumeric() || c == '_') {
                self.at += 1;
            }
            let name: String = self.chars[start..self.at].iter().collect();
            return Ok(match name.as_str() {
                "true" => Token::Literal(Literal::Bool(true)),
                "false" => Token::Literal(Literal::Bool(false)),
                "null" => Token::Literal(Literal::Null),
                "in" => Token::Sign("in"),
                _ => Token::Ident(name),
            });
        }
        for sign in SIGNS {
            if sign.chars().enumerate().all(|(i, s)| self.peek(i) == Some(s)) {
                self.at += sign.len();
                return Ok(Token::Sign(sign));
            }
        }
        self.error(self.at, format!("token recognition error at: '{c}'"))
    }

    /// How long the prefix of a string literal is, and whether it is raw, or of bytes.
    fn string_prefix(&self) -> Option<(usize, bool, bool)> {
        let (mut raw, mut bytes, mut length) = (false, false, 0);
        loop {
            match self.peek(length)? {
                'r' | 'R' if !raw => raw = true,
                'b' | 'B' if !bytes && !raw => bytes = true,
                '"' | '\'' => return Some((length, raw, bytes)),
                _ => return None,
            }
            length += 1;
        }
    }

    fn string(&mut self, raw: bool, bytes: bool) -> Result<Token, Issue> {
        let start = self.at;
        let quote = self.chars[self.at];
        let long = self.peek(1) == Some(quote) && self.peek(2) == Some(quote);
        self.at += if long { 3 } else { 1 };
        let mut text = String::new();
        let mut out = Vec::new();
        loop {
            let Some(c) = self.peek(0) else { return self.error(start, format!("token recognition error at: '{quote}'")) };
            if c == quote && (!long || (self.peek(1) == Some(quote) && self.peek(2) == Some(quote))) {
                self.at += if long { 3 } else { 1 };
                break;
            }
            if !long && matches!(c, '\n' | '\r') {
                return self.error(start, format!("token recognition error at: '{quote}'"));
            }
            self.at += 1;
            if c != '\\' || raw {
                // A raw string keeps the backslash and what it would have escaped.
                text.push(c);
                if c == '\\'
                    && let Some(next) = self.peek(0)
                    && (next == quote || next == '\\')
                {
                    text.push(next);
                    self.at += 1;
                }
                if bytes {
                    out.extend(std::mem::take(&mut text).bytes());
                }
                continue;
            }
            match self.escape(bytes)? {
                Escaped::Char(c) => text.push(c),
                Escaped::Byte(b) => out.push(b),
            }
            if bytes {
                out.extend(std::mem::take(&mut text).bytes());
            }
        }
        Ok(Token::Literal(if bytes { Literal::Bytes(out) } else { Literal::String(text) }))
    }

    fn escape(&mut self, bytes: bool) -> Result<Escaped, Issue> {
        let start = self.at - 1;
        let Some(c) = self.peek(0) else { return self.error(start, "token recognition error at: '\\'") };
        self.at += 1;
        let simple = match c {
            'a' => '\x07',
            'b' => '\x08',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            '\\' | '\'' | '"' | '`' | '?' => c,
            'x' | 'X' => return self.code(2, 16, bytes),
            'u' if !bytes => return self.code(4, 16, false),
            'U' if !bytes => return self.code(8, 16, false),
            '0'..='3' => {
                self.at -= 1;
                return self.code(3, 8, bytes);
            }
            _ => return self.error(start, format!("token recognition error at: '\\{c}'")),
        };
        Ok(Escaped::Char(simple))
    }

    fn code(&mut self, digits: usize, radix: u32, byte: bool) -> Result<Escaped, Issue> {
        let start = self.at;
        let mut code = 0u32;
        for _ in 0..digits {
            let Some(digit) = self.peek(0).and_then(|c| c.to_digit(radix)) else {
                return self.error(start, "token recognition error: bad escape");
            };
            code = code * radix + digit;
            self.at += 1;
        }
        match (byte, char::from_u32(code)) {
            (true, _) => Ok(Escaped::Byte(code as u8)),
            (false, Some(c)) => Ok(Escaped::Char(c)),
            (false, None) => self.error(start, "invalid unicode code point"),
        }
    }

    fn number(&mut self) -> Result<Token, Issue> {
        let start = self.at;
        let digits = |lexer: &mut Self, radix: u32| {
            let from = lexer.at;
            while lexer.peek(0).is_some_and(|c| c.is_digit(radix)) {
                lexer.at += 1;
            }
            lexer.at > from
        };
        if self.peek(0) == Some('0') && matches!(self.peek(1), Some('x' | 'X')) {
            self.at += 2;
            let from = self.at;
            digits(self, 16);
            let text: String = self.chars[from..self.at].iter().collect();
            return self.integer(start, &text, 16);
        }
        digits(self, 10);
        let mut double = false;
        if self.peek(0) == Some('.') && self.peek(1).is_some_and(|c| c.is_ascii_digit()) {
            double = true;
            self.at += 1;
            digits(self, 10);
        }
        if matches!(self.peek(0), Some('e' | 'E')) {
            let sign = usize::from(matches!(self.peek(1), Some('+' | '-')));
            if self.peek(1 + sign).is_some_and(|c| c.is_ascii_digit()) {
                double = true;
                self.at += 1 + sign;
                digits(self, 10);
            }
        }
        let text: String = self.chars[start..self.at].iter().collect();
        if !double {
            return self.integer(start, &text, 10);
        }
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Token::Literal(Literal::Double(value))),
            _ => Err(Issue::new(start as u32, "invalid double literal")),
        }
    }

    /// What is one too large for a positive literal is left to the parser, which knows whether a minus stands before it.
    fn integer(&mut self, start: usize, text: &str, radix: u32) -> Result<Token, Issue> {
        let value = u64::from_str_radix(text, radix);
        if matches!(self.peek(0), Some('u' | 'U')) {
            self.at += 1;
            return value.map(|v| Token::Literal(Literal::Uint(v))).map_err(|_| Issue::new(start as u32, "invalid uint literal"));
        }
        let bad = || Issue::new(start as u32, "invalid int literal");
        let value = value.map_err(|_| bad())?;
        match i64::try_from(value) {
            Ok(value) => Ok(Token::Literal(Literal::Int(value))),
            Err(_) if value == 1 << 63 && start > 0 && self.chars[start - 1] == '-' => Ok(Token::Literal(Literal::Int(i64::MIN))),
            Err(_) => Err(bad()),
        }
    }
}

enum Escaped {
    Char(char),
    Byte(u8),
}
