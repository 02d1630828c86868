//! `compose config --variables`: which variables the files ask for.

use std::collections::BTreeMap;

use crate::error::LoadError;
use crate::interpolate::{closing, split_name};
use crate::load::{LoadOptions, sources};
use crate::yaml::{Node, Value};

/// What a file says about a variable it asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variable {
    /// Whether loading fails without it (`${NAME:?…}`).
    pub required: bool,
    /// What stands in for it when nobody sets it (`${NAME:-…}`).
    pub default: String,
    /// What replaces it when somebody does (`${NAME:+…}`).
    pub alternate: String,
}

/// The variables of the project's files, by name, whatever their values are now.
///
/// # Errors
/// A file that cannot be read or is no YAML.
pub fn variables(options: &LoadOptions) -> Result<BTreeMap<String, Variable>, LoadError> {
    let mut found = BTreeMap::new();
    for root in sources(options)? {
        in_node(&root, &mut found);
    }
    Ok(found)
}

fn in_node(node: &Node, found: &mut BTreeMap<String, Variable>) {
    match &node.value {
        Value::Null => {}
        Value::Scalar(scalar) => in_text(&scalar.text, found),
        Value::Seq(items) => items.iter().for_each(|item| in_node(item, found)),
        Value::Map(map) => map.iter().for_each(|entry| in_node(&entry.value, found)),
    }
}

fn in_text(text: &str, found: &mut BTreeMap<String, Variable>) {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('$') {
        rest = if let Some(tail) = after.strip_prefix('$') {
            tail
        } else if let Some(inner) = after.strip_prefix('{') {
            // A broken one is told by who substitutes it.
            let Some(end) = closing(inner) else { return };
            in_braces(&inner[..end], found);
            &inner[end + 1..]
        } else {
            let (name, tail) = split_name(after);
            if !name.is_empty() {
                found.entry(name.to_owned()).or_default();
            }
            tail
        };
    }
}

fn in_braces(expression: &str, found: &mut BTreeMap<String, Variable>) {
    let (name, operator) = split_name(expression);
    if name.is_empty() {
        return;
    }
    let variable = found.entry(name.to_owned()).or_default();
    let operator = operator.strip_prefix(':').unwrap_or(operator);
    let word = operator.get(1..).unwrap_or_default();
    match operator.chars().next() {
        Some('?') => variable.required = true,
        Some('-') => word.clone_into(&mut variable.default),
        Some('+') => word.clone_into(&mut variable.alternate),
        _ => {}
    }
    in_text(word, found);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_found() {
        let mut found = BTreeMap::new();
        in_text("$A ${B:-b} ${C?no ${D+d}} $$E ${F-} $ ${G", &mut found);
        let variable = |required, default: &str, alternate: &str| Variable {
            required,
            default: default.into(),
            alternate: alternate.into(),
        };
        let expected = [
            ("A", variable(false, "", "")),
            ("B", variable(false, "b", "")),
            ("C", variable(true, "", "")),
            ("D", variable(false, "", "d")),
            ("F", variable(false, "", "")),
        ];
        assert_eq!(found, expected.map(|(name, variable)| (name.to_owned(), variable)).into());
    }
}
