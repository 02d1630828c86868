//! From a template's text to its tree.

use std::fmt;

use serde_json::Value;

use super::functions;

pub enum Node {
    Text(String),
    Print(Expr),
    Assign(String, Expr),
    If(Expr, Vec<Node>, Vec<Node>),
    With(Expr, Vec<Node>, Vec<Node>),
    Range { names: Vec<String>, over: Expr, body: Vec<Node>, otherwise: Vec<Node> },
}

pub enum Expr {
    Literal(Value),
    Path(Base, Vec<String>),
    Call(String, Vec<Expr>),
}

pub enum Base {
    Dot,
    Root,
    Variable(String),
    Expr(Box<Expr>),
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expr::Literal(value) => write!(f, "{value}"),
            Expr::Path(base, fields) => {
                match base {
                    Base::Dot if fields.is_empty() => f.write_str(".")?,
                    Base::Dot => {}
                    Base::Root => f.write_str("$")?,
                    Base::Variable(name) => write!(f, "${name}")?,
                    Base::Expr(inner) => write!(f, "({inner})")?,
                }
                fields.iter().try_for_each(|field| write!(f, ".{field}"))
            }
            Expr::Call(name, arguments) => {
                f.write_str(name)?;
                arguments.iter().try_for_each(|argument| write!(f, " {argument}"))
            }
        }
    }
}

/// Parses a whole template; the error is a fragment for `TemplateError::Parse`.
pub fn parse(text: &str) -> Result<Vec<Node>, String> {
    let mut pieces = split(text)?.into_iter();
    match block(&mut pieces, None)? {
        (nodes, Stop::End) => Ok(nodes),
        (_, Stop::Else(_)) => Err("unexpected {{else}}".into()),
    }
}

enum Piece {
    Text(String),
    Action(String),
}

/// Cuts `text` into literal text and actions, applying the trim markers and dropping comments.
fn split(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut trim = false;
    loop {
        let open = rest.find("{{");
        let mut literal = &rest[..open.unwrap_or(rest.len())];
        if trim {
            literal = literal.trim_start();
        }
        let Some(open) = open else {
            pieces.push(Piece::Text(literal.into()));
            return Ok(pieces);
        };
        let after = &rest[open + 2..];
        let close = closing(after).ok_or("unclosed action")?;
        let mut action = &after[..close];
        rest = &after[close + 2..];
        if let Some(trimmed) = action.strip_prefix('-').filter(|rest| rest.starts_with(char::is_whitespace)) {
            action = trimmed;
            literal = literal.trim_end();
        }
        trim = action.strip_suffix('-').is_some_and(|rest| rest.ends_with(char::is_whitespace));
        if trim {
            action = &action[..action.len() - 1];
        }
        pieces.push(Piece::Text(literal.into()));
        let action = action.trim();
        if !(action.starts_with("/*") && action.ends_with("*/")) {
            pieces.push(Piece::Action(action.into()));
        }
    }
}

/// Where the action that starts at `text` ends, string literals skipped.
fn closing(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut quote = None;
    let mut at = 0;
    while at < bytes.len() {
        match (quote, bytes[at]) {
            (Some(b'"'), b'\\') => at += 1,
            (Some(open), byte) if open == byte => quote = None,
            (Some(_), _) => {}
            (None, byte @ (b'"' | b'`')) => quote = Some(byte),
            (None, b'}') if bytes.get(at + 1) == Some(&b'}') => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

enum Stop {
    End,
    /// `{{else}}`, or `{{else if ...}}` with the rest of its words.
    Else(Option<String>),
}

fn block(
    pieces: &mut impl Iterator<Item = Piece>,
    inside: Option<&str>,
) -> Result<(Vec<Node>, Stop), String> {
    let mut nodes = Vec::new();
    while let Some(piece) = pieces.next() {
        let action = match piece {
            Piece::Text(text) => {
                if !text.is_empty() {
                    nodes.push(Node::Text(text));
                }
                continue;
            }
            Piece::Action(action) => action,
        };
        let (word, rest) = action.split_once(char::is_whitespace).unwrap_or((&action, ""));
        match word {
            "end" if inside.is_some() => return Ok((nodes, Stop::End)),
            "end" => return Err("unexpected {{end}}".into()),
            "else" if inside.is_some() => {
                let rest = rest.trim();
                return Ok((nodes, Stop::Else((!rest.is_empty()).then(|| rest.to_owned()))));
            }
            "if" | "with" | "range" => nodes.push(control(word, rest.trim(), pieces)?),
            "define" | "template" | "block" | "break" | "continue" => {
                return Err(format!("{{{{{word}}}}} is not supported"));
            }
            _ => nodes.push(statement(&action)?),
        }
    }
    match inside {
        None => Ok((nodes, Stop::End)),
        Some(word) => Err(format!("unexpected end, `{word}` is not closed")),
    }
}

fn control(word: &str, rest: &str, pieces: &mut impl Iterator<Item = Piece>) -> Result<Node, String> {
    let (names, pipeline) = match rest.split_once(":=") {
        Some((names, pipeline)) if word == "range" => {
            let names = names.split(',').map(|name| variable(name.trim())).collect::<Result<Vec<_>, _>>()?;
            (names, pipeline)
        }
        _ => (Vec::new(), rest),
    };
    let test = expression(pipeline)?;
    let (then, stop) = block(pieces, Some(word))?;
    let otherwise = match stop {
        Stop::End => Vec::new(),
        Stop::Else(Some(next)) => {
            let (word, rest) =
                next.split_once(char::is_whitespace).ok_or("missing condition after {{else}}")?;
            vec![control(word, rest.trim(), pieces)?]
        }
        Stop::Else(None) => match block(pieces, Some(word))? {
            (nodes, Stop::End) => nodes,
            (_, Stop::Else(_)) => return Err("a second {{else}}".into()),
        },
    };
    Ok(match word {
        "if" => Node::If(test, then, otherwise),
        "with" => Node::With(test, then, otherwise),
        "range" => Node::Range { names, over: test, body: then, otherwise },
        other => return Err(format!("unexpected {other} after {{{{else}}}}")),
    })
}

fn statement(action: &str) -> Result<Node, String> {
    if action.starts_with('$') {
        let assignment = action.split_once(":=").or_else(|| action.split_once(" = "));
        if let Some((name, pipeline)) = assignment {
            return Ok(Node::Assign(variable(name.trim())?, expression(pipeline)?));
        }
    }
    Ok(Node::Print(expression(action)?))
}

fn variable(word: &str) -> Result<String, String> {
    let name = word.strip_prefix('$').filter(|name| !name.is_empty());
    name.map(str::to_owned).ok_or_else(|| format!("bad variable \"{word}\""))
}

#[derive(Debug, PartialEq)]
enum Token {
    Word(String),
    Quoted(String),
    Pipe,
    Open,
    /// With the fields that follow at once: `(index .A 0).B`.
    Close(Vec<String>),
}

fn expression(text: &str) -> Result<Expr, String> {
    let mut tokens = tokens(text)?.into_iter().peekable();
    let expr = pipeline(&mut tokens)?;
    match tokens.next() {
        None => Ok(expr),
        Some(token) => Err(format!("unexpected {token:?} in \"{text}\"")),
    }
}

type Tokens = std::iter::Peekable<std::vec::IntoIter<Token>>;

fn pipeline(tokens: &mut Tokens) -> Result<Expr, String> {
    let mut value = command(tokens, None)?;
    while tokens.next_if_eq(&Token::Pipe).is_some() {
        value = command(tokens, Some(value))?;
    }
    Ok(value)
}

fn command(tokens: &mut Tokens, piped: Option<Expr>) -> Result<Expr, String> {
    let mut name = None;
    let mut operands = Vec::new();
    loop {
        match tokens.peek() {
            None | Some(Token::Pipe | Token::Close(_)) => break,
            _ => {}
        }
        match tokens.next() {
            Some(Token::Word(word))
                if operands.is_empty() && name.is_none() && functions::NAMES.contains(&word.as_str()) =>
            {
                name = Some(word);
            }
            Some(Token::Word(word)) => operands.push(operand(&word)?),
            Some(Token::Quoted(text)) => operands.push(Expr::Literal(Value::String(text))),
            Some(Token::Open) => {
                let inner = pipeline(tokens)?;
                match tokens.next() {
                    Some(Token::Close(fields)) if fields.is_empty() => operands.push(inner),
                    Some(Token::Close(fields)) => {
                        operands.push(Expr::Path(Base::Expr(Box::new(inner)), fields))
                    }
                    _ => return Err("unclosed left paren".into()),
                }
            }
            _ => break,
        }
    }
    operands.extend(piped);
    match name {
        Some(name) => Ok(Expr::Call(name, operands)),
        None if operands.len() == 1 => Ok(operands.remove(0)),
        None if operands.is_empty() => Err("missing value for command".into()),
        None => Err(format!("can't give argument to non-function {}", operands[0])),
    }
}

fn operand(word: &str) -> Result<Expr, String> {
    let fields = |path: &str| -> Result<Vec<String>, String> {
        let fields: Vec<String> = path.split('.').skip(1).map(str::to_owned).collect();
        match fields.iter().any(String::is_empty) && path != "." {
            true => Err(format!("bad field \"{word}\"")),
            false => Ok(if path == "." { Vec::new() } else { fields }),
        }
    };
    if word.starts_with('.') {
        return Ok(Expr::Path(Base::Dot, fields(word)?));
    }
    if let Some(rest) = word.strip_prefix('$') {
        let cut = rest.find('.').unwrap_or(rest.len());
        let base = if cut == 0 { Base::Root } else { Base::Variable(rest[..cut].into()) };
        return Ok(Expr::Path(base, fields(&rest[cut..])?));
    }
    match word {
        "true" | "false" => return Ok(Expr::Literal(Value::Bool(word == "true"))),
        "nil" => return Ok(Expr::Literal(Value::Null)),
        _ => {}
    }
    if let Ok(number) = word.parse::<i64>() {
        return Ok(Expr::Literal(number.into()));
    }
    if let Ok(number) = word.parse::<f64>() {
        return Ok(Expr::Literal(number.into()));
    }
    Err(format!("function \"{word}\" not defined"))
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            _ if letter.is_whitespace() => {}
            '|' => tokens.push(Token::Pipe),
            '(' => tokens.push(Token::Open),
            ')' => {
                let mut path = String::new();
                while let Some(letter) = letters.next_if(|letter| word_letter(*letter)) {
                    path.push(letter);
                }
                tokens.push(Token::Close(path.split('.').skip(1).map(str::to_owned).collect()));
            }
            '"' => tokens.push(Token::Quoted(quoted(&mut letters)?)),
            '`' => {
                let mut raw = String::new();
                loop {
                    match letters.next().ok_or("unterminated raw quoted string")? {
                        '`' => break,
                        letter => raw.push(letter),
                    }
                }
                tokens.push(Token::Quoted(raw));
            }
            _ => {
                let mut word = String::from(letter);
                while let Some(letter) = letters.next_if(|letter| word_letter(*letter)) {
                    word.push(letter);
                }
                tokens.push(Token::Word(word));
            }
        }
    }
    Ok(tokens)
}

fn word_letter(letter: char) -> bool {
    !letter.is_whitespace() && !matches!(letter, '|' | '(' | ')' | '"' | '`')
}

fn quoted(letters: &mut impl Iterator<Item = char>) -> Result<String, String> {
    let mut text = String::new();
    loop {
        match letters.next().ok_or("unterminated quoted string")? {
            '"' => return Ok(text),
            '\\' => text.push(match letters.next().ok_or("unterminated quoted string")? {
                'n' => '\n',
                't' => '\t',
                other => other,
            }),
            letter => text.push(letter),
        }
    }
}
