//! `$NAME`, `${NAME}` and its operators, `$$`.
//!
//! Spec: Compose specification, "Interpolation".

use std::collections::BTreeSet;

use crate::error::LoadError;
use crate::yaml::{Node, Value};

/// Looks variables up and remembers which were asked for in vain.
pub struct Interpolator<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    missing: BTreeSet<String>,
}

/// Why a template cannot be substituted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("invalid interpolation format {0:?}")]
    Invalid(String),
    #[error("required variable {name} is missing a value{}{message}", if message.is_empty() { "" } else { ": " })]
    Required { name: String, message: String },
}

/// Nesting of `${A:-${B:-...}}` beyond which a template is refused.
const MAX_DEPTH: usize = 32;

impl<'a> Interpolator<'a> {
    pub fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { lookup, missing: BTreeSet::new() }
    }

    /// The variables that were replaced by nothing because nobody sets them.
    pub fn into_missing(self) -> BTreeSet<String> {
        self.missing
    }

    /// Substitutes in every value below `node`; keys stay as they are.
    pub fn node(&mut self, node: &mut Node, path: &str) -> Result<(), LoadError> {
        match &mut node.value {
            Value::Null => {}
            Value::Scalar(scalar) => {
                if scalar.text.contains('$') {
                    scalar.text = self.text(&scalar.text).map_err(|error| LoadError::Interpolation {
                        at: node.at.clone(),
                        path: path.to_owned(),
                        message: error.to_string(),
                    })?;
                    scalar.plain = false;
                }
            }
            Value::Seq(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.node(item, &format!("{path}.[{index}]"))?;
                }
            }
            Value::Map(map) => {
                for entry in map.iter_mut() {
                    let path =
                        if path.is_empty() { entry.key.clone() } else { format!("{path}.{}", entry.key) };
                    self.node(&mut entry.value, &path)?;
                }
            }
        }
        Ok(())
    }

    /// Substitutes in `template`.
    pub fn text(&mut self, template: &str) -> Result<String, TemplateError> {
        self.substitute(template, 0)
    }

    fn substitute(&mut self, template: &str, depth: usize) -> Result<String, TemplateError> {
        if depth > MAX_DEPTH {
            return Err(TemplateError::Invalid(template.to_owned()));
        }
        let mut out = String::with_capacity(template.len());
        let mut rest = template;
        while let Some(dollar) = rest.find('$') {
            out.push_str(&rest[..dollar]);
            let after = &rest[dollar + 1..];
            if let Some(tail) = after.strip_prefix('$') {
                out.push('$');
                rest = tail;
            } else if let Some(inner) = after.strip_prefix('{') {
                let end = closing(inner).ok_or_else(|| TemplateError::Invalid(rest[dollar..].to_owned()))?;
                out.push_str(&self.braced(&inner[..end], depth)?);
                rest = &inner[end + 1..];
            } else {
                let (name, tail) = split_name(after);
                if name.is_empty() {
                    out.push('$');
                } else {
                    out.push_str(&self.value(name));
                }
                rest = tail;
            }
        }
        out.push_str(rest);
        Ok(out)
    }

    /// `expression` is what stands between the braces.
    fn braced(&mut self, expression: &str, depth: usize) -> Result<String, TemplateError> {
        let invalid = || TemplateError::Invalid(format!("${{{expression}}}"));
        let (name, operator) = split_name(expression);
        if name.is_empty() {
            return Err(invalid());
        }
        if operator.is_empty() {
            return Ok(self.value(name));
        }
        let (empty_counts, operator) = match operator.strip_prefix(':') {
            Some(rest) => (false, rest),
            None => (true, operator),
        };
        let value = (self.lookup)(name).filter(|value| empty_counts || !value.is_empty());
        let mut chars = operator.chars();
        let kind = chars.next().ok_or_else(invalid)?;
        let word = chars.as_str();
        match (kind, value) {
            ('-', Some(value)) | ('?', Some(value)) => Ok(value),
            ('-', None) => self.substitute(word, depth + 1),
            ('?', None) => Err(TemplateError::Required {
                name: name.to_owned(),
                message: self.substitute(word, depth + 1)?,
            }),
            ('+', Some(_)) => self.substitute(word, depth + 1),
            ('+', None) => Ok(String::new()),
            _ => Err(invalid()),
        }
    }

    fn value(&mut self, name: &str) -> String {
        (self.lookup)(name).unwrap_or_else(|| {
            self.missing.insert(name.to_owned());
            String::new()
        })
    }
}

/// Splits a leading variable name off.
pub(crate) fn split_name(text: &str) -> (&str, &str) {
    let end = text
        .char_indices()
        .find(|&(index, c)| !(c == '_' || c.is_ascii_alphabetic() || index > 0 && c.is_ascii_digit()))
        .map_or(text.len(), |(index, _)| index);
    text.split_at(end)
}

/// Where the brace that `text` starts inside of is closed.
pub(crate) fn closing(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    let bytes = text.as_bytes();
    let mut index = 0;
    while index < bytes.len() {
        match bytes[index] {
            b'$' if bytes.get(index + 1) == Some(&b'$') => index += 1,
            b'$' if bytes.get(index + 1) == Some(&b'{') => {
                depth += 1;
                index += 1;
            }
            b'}' if depth == 0 => return Some(index),
            b'}' => depth -= 1,
            _ => {}
        }
        index += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn substitute(template: &str) -> Result<String, TemplateError> {
        let lookup = |name: &str| match name {
            "SET" => Some("value".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        Interpolator::new(&lookup).text(template)
    }

    fn check(template: &str, expected: &str) {
        assert_eq!(substitute(template).as_deref(), Ok(expected), "{template}");
    }

    #[test]
    fn every_operator_with_set_empty_and_unset() {
        for (operator, set, empty, unset) in [
            ("", "value", "", ""),
            (":-d", "value", "d", "d"),
            ("-d", "value", "", "d"),
            (":+r", "r", "", ""),
            ("+r", "r", "r", ""),
            ("?m", "value", "", "!"),
            (":?m", "value", "!", "!"),
        ] {
            for (name, expected) in [("SET", set), ("EMPTY", empty), ("UNSET", unset)] {
                let template = format!("<${{{name}{operator}}}>");
                let result = substitute(&template);
                if expected == "!" {
                    let error = TemplateError::Required { name: name.to_owned(), message: "m".to_owned() };
                    assert_eq!(result, Err(error), "{template}");
                } else {
                    assert_eq!(result, Ok(format!("<{expected}>")), "{template}");
                }
            }
        }
    }

    #[test]
    fn nesting_escapes_and_plain_dollars() {
        check("$SET-$SET", "value-value");
        check("${UNSET:-${EMPTY:-deep}}x", "deepx");
        check("${UNSET:-a$${b}", "a${b");
        check("$$SET ${SET}", "$SET value");
        check("cost: 5$", "cost: 5$");
        check("$1 $ x", "$1 $ x");
        check("${UNSET:-{}}", "{}");
        check("${SET:-}}", "value}");
    }

    #[test]
    fn broken_templates_are_errors() {
        for template in ["${", "${SET", "${}", "${1}", "${SET!x}", "${SET:}", "${SET:=x}"] {
            assert!(matches!(substitute(template), Err(TemplateError::Invalid(_))), "{template}");
        }
    }
}
