//! The words of a statement, read one after the other.

use std::net::IpAddr;

use super::lex::Token;
use super::parse::parse_network;

/// What is wrong with a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wrong {
    Syntax,
    /// pfctl says this of the line.
    Says(String),
    /// A name that is no address.
    NoHost(String),
    /// pfctl may know it, the simulation does not.
    Unknown(String),
}

/// Reads words one after the other.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    tokens: &'a [Token],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(tokens: &'a [Token]) -> Self {
        Self { tokens }
    }

    pub(super) fn next(&mut self) -> Option<&'a Token> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }

    pub(super) fn peek(&self) -> Option<&'a Token> {
        self.tokens.first()
    }

    /// Takes a keyword if it is the next word.
    pub(super) fn take(&mut self, keyword: &str) -> bool {
        let is = matches!(self.peek(), Some(Token::Keyword(one)) if *one == keyword);
        if is {
            self.next();
        }
        is
    }

    pub(super) fn sign(&mut self, sign: char) -> bool {
        let is = self.peek() == Some(&Token::Sign(sign));
        if is {
            self.next();
        }
        is
    }

    pub(super) fn must(&mut self, sign: char) -> Result<(), Wrong> {
        if self.sign(sign) { Ok(()) } else { Err(Wrong::Syntax) }
    }

    pub(super) fn expect(&mut self, keyword: &str) -> Result<(), Wrong> {
        if self.take(keyword) { Ok(()) } else { Err(Wrong::Syntax) }
    }

    pub(super) fn end(&self) -> Result<(), Wrong> {
        if self.tokens.is_empty() { Ok(()) } else { Err(Wrong::Syntax) }
    }

    /// One item, or several in braces.
    pub(super) fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, Wrong>,
    ) -> Result<Vec<T>, Wrong> {
        if !self.sign('{') {
            return Ok(vec![item(self)?]);
        }
        let mut items = Vec::new();
        while !self.sign('}') {
            items.push(item(self)?);
            self.sign(',');
        }
        if items.is_empty() { Err(Wrong::Syntax) } else { Ok(items) }
    }

    /// A name, in quotes or not.
    pub(super) fn name(&mut self) -> Result<String, Wrong> {
        match self.next() {
            Some(Token::Word(name) | Token::Quoted(name)) => Ok(name.clone()),
            _ => Err(Wrong::Syntax),
        }
    }

    /// `<name>`
    pub(super) fn table(&mut self) -> Result<String, Wrong> {
        self.must('<')?;
        let name = self.name()?;
        self.must('>')?;
        Ok(name)
    }

    /// An address or network, as it is written and as it is.
    pub(super) fn network(&mut self) -> Result<(String, Option<(IpAddr, u8)>), Wrong> {
        let mut text = match self.next() {
            Some(Token::Word(text)) => text.clone(),
            Some(Token::Sign('!')) => {
                return Err(Wrong::Unknown("negated addresses in a table".to_owned()));
            }
            _ => return Err(Wrong::Syntax),
        };
        if self.sign('/') {
            match self.next() {
                Some(Token::Number(prefix)) => text += &format!("/{prefix}"),
                _ => return Err(Wrong::Syntax),
            }
        }
        let network = parse_network(&text);
        Ok((text, network))
    }
}
