//! Go templates over JSON values, as far as `--format` uses them.
//!
//! Docker's clients accept Go's text/template there. What is known here: fields, variables, pipelines, literals, `if`, `range`,
//! `with`, trim markers, comments, Go's comparison and boolean functions, and Docker's own (`json`, `join`, `split`, `lower`,
//! `upper`, `title`, `pad`, `truncate`, `println`, `table`). Anything else is an error that names it.

mod functions;
mod parse;

use std::collections::HashMap;

use diag::{Class, Diagnose};
use serde_json::Value;

use parse::{Expr, Node};

/// Why a template could not be read or applied.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    #[error("template parsing error: {reason} in `{template}`")]
    Parse { template: String, reason: String },
    #[error("template: cannot evaluate `{at}`: {reason}")]
    Evaluate { at: String, reason: String },
}

impl Diagnose for TemplateError {
    fn class(&self) -> Class {
        Class::Invalid
    }

    fn hint(&self) -> Option<String> {
        Some("see every field with `--format '{{json .}}'`".into())
    }
}

/// A parsed template.
pub struct Template {
    nodes: Vec<Node>,
}

impl Template {
    /// Parses `text`; `\t` and `\n` written as two characters are the tab and the line end, as Docker's clients have it.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let text = text.replace("\\t", "\t").replace("\\n", "\n");
        let nodes =
            parse::parse(&text).map_err(|reason| TemplateError::Parse { template: text.clone(), reason })?;
        Ok(Self { nodes })
    }

    /// The text this template makes of `value`.
    pub fn render(&self, value: &Value) -> Result<String, TemplateError> {
        let mut scope = Scope { root: value, variables: HashMap::new(), out: String::new() };
        scope.nodes(&self.nodes, value)?;
        Ok(scope.out)
    }

    /// The last field names the template prints, in order: the headings of a `table` format.
    pub fn headings(&self) -> Vec<String> {
        fn last_field(expr: &Expr) -> Option<&String> {
            match expr {
                Expr::Path(_, fields) => fields.last(),
                Expr::Call(_, arguments) => arguments.iter().rev().find_map(last_field),
                Expr::Literal(_) => None,
            }
        }
        let fields = self.nodes.iter().filter_map(|node| match node {
            Node::Print(expr) => last_field(expr).cloned(),
            _ => None,
        });
        fields.collect()
    }
}

struct Scope<'a> {
    root: &'a Value,
    variables: HashMap<String, Value>,
    out: String,
}

impl Scope<'_> {
    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<(), TemplateError> {
        nodes.iter().try_for_each(|node| self.node(node, dot))
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<(), TemplateError> {
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Print(expr) => {
                let value = self.eval(expr, dot)?;
                self.out.push_str(&functions::display(&value));
            }
            Node::Assign(name, expr) => {
                let value = self.eval(expr, dot)?;
                self.variables.insert(name.clone(), value);
            }
            Node::If(test, then, otherwise) => {
                let branch = if functions::truth(&self.eval(test, dot)?) { then } else { otherwise };
                self.nodes(branch, dot)?;
            }
            Node::With(expr, then, otherwise) => {
                let value = self.eval(expr, dot)?;
                if functions::truth(&value) {
                    self.nodes(then, &value)?;
                } else {
                    self.nodes(otherwise, dot)?;
                }
            }
            Node::Range { names, over, body, otherwise } => {
                let items: Vec<(Value, Value)> = match self.eval(over, dot)? {
                    Value::Array(items) => items
                        .into_iter()
                        .enumerate()
                        .map(|(index, item)| (Value::from(index), item))
                        .collect(),
                    Value::Object(map) => {
                        map.into_iter().map(|(key, item)| (Value::from(key), item)).collect()
                    }
                    Value::Null => Vec::new(),
                    other => return Err(evaluate(over, format!("range can't iterate over {other}"))),
                };
                if items.is_empty() {
                    self.nodes(otherwise, dot)?;
                }
                for (key, item) in items {
                    match names.as_slice() {
                        [value] => drop(self.variables.insert(value.clone(), item.clone())),
                        [first, second] => {
                            self.variables.insert(first.clone(), key);
                            self.variables.insert(second.clone(), item.clone());
                        }
                        _ => {}
                    }
                    self.nodes(body, &item)?;
                }
            }
        }
        Ok(())
    }

    fn eval(&self, expr: &Expr, dot: &Value) -> Result<Value, TemplateError> {
        match expr {
            Expr::Literal(value) => Ok(value.clone()),
            Expr::Path(base, fields) => {
                let mut value = match base {
                    parse::Base::Dot => dot.clone(),
                    parse::Base::Root => self.root.clone(),
                    parse::Base::Variable(name) => self
                        .variables
                        .get(name)
                        .cloned()
                        .ok_or_else(|| evaluate(expr, format!("undefined variable \"{name}\"")))?,
                    parse::Base::Expr(inner) => self.eval(inner, dot)?,
                };
                for field in fields {
                    value = match value {
                        Value::Object(mut map) => match map.remove(field) {
                            Some(value) => value,
                            // Go's fields have capital letters: this is a key, such as a label's, and may be missing.
                            None if field.starts_with(|c: char| c.is_lowercase()) => Value::Null,
                            None => {
                                return Err(evaluate(expr, format!("map has no entry for key \"{field}\"")));
                            }
                        },
                        Value::Null => Value::Null,
                        _ => return Err(evaluate(expr, format!("can't evaluate field {field}"))),
                    };
                }
                Ok(value)
            }
            // `and` and `or` decide by their first arguments and leave the others alone.
            Expr::Call(name, arguments) if name == "and" || name == "or" => {
                let mut last = Value::Null;
                for argument in arguments {
                    last = self.eval(argument, dot)?;
                    if functions::truth(&last) == (name == "or") {
                        break;
                    }
                }
                Ok(last)
            }
            Expr::Call(name, arguments) => {
                let values = arguments
                    .iter()
                    .map(|argument| self.eval(argument, dot))
                    .collect::<Result<Vec<_>, _>>()?;
                functions::call(name, &values).map_err(|reason| evaluate(expr, reason))
            }
        }
    }
}

fn evaluate(expr: &Expr, reason: String) -> TemplateError {
    TemplateError::Evaluate { at: expr.to_string(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(template: &str, expected: &str) {
        let value = json!({
            "Id": "abc", "Name": "/web", "Tty": false, "Count": 3, "Ratio": 1.5,
            "State": {"Status": "running", "Pid": 12},
            "Args": ["-c", "echo"], "Labels": {"b": "2", "a": "1"}, "Empty": [], "None": null,
            "Net": {"Networks": {"br": {"IP": "10.0.0.2"}, "x-y": {"IP": "10.0.0.3"}}},
        });
        let rendered = Template::parse(template).and_then(|parsed| parsed.render(&value));
        assert_eq!(rendered.unwrap_or_else(|error| error.to_string()), expected, "{template}");
    }

    #[test]
    fn fields_print_as_go_prints_them() {
        check("{{.Id}} {{ .State.Status }}", "abc running");
        check("{{.Tty}} {{.Count}} {{.Ratio}}", "false 3 1.5");
        check("{{.Args}} {{.Labels}} {{.None}}", "[-c echo] map[a:1 b:2] <no value>");
        check("{{json .Args}} {{json .State}}", "[\"-c\",\"echo\"] {\"Pid\":12,\"Status\":\"running\"}");
        check("a{{- /* remark */ -}} b", "ab");
        check("{{.Labels.a}} {{.Labels.other}}", "1 <no value>");
    }

    #[test]
    fn control_flow() {
        check("{{if .Tty}}y{{else}}n{{end}}", "n");
        check("{{if .Tty}}y{{else if eq .Count 3}}three{{end}}", "three");
        check("{{range .Args}}<{{.}}>{{end}}", "<-c><echo>");
        check("{{range $k, $v := .Labels}}{{$k}}={{$v}} {{end}}", "a=1 b=2 ");
        check("{{range .Empty}}x{{else}}none{{end}}", "none");
        check("{{with .State}}{{.Pid}} {{$.Id}}{{end}}", "12 abc");
        check("{{range .Net.Networks}}{{.IP}} {{end}}", "10.0.0.2 10.0.0.3 ");
        check("{{$x := .Count}}{{$x}}", "3");
    }

    #[test]
    fn functions_and_pipelines() {
        check("{{join .Args \",\"}} {{.Id | upper}} {{title .Id}}", "-c,echo ABC Abc");
        check("{{index .Args 1}} {{index .Net.Networks \"x-y\" \"IP\"}}", "echo 10.0.0.3");
        check("{{(index .Net.Networks \"x-y\").IP}}", "10.0.0.3");
        check("{{len .Args}} {{and .Tty 1}} {{or .Tty 1}} {{not .Tty}}", "2 false 1 true");
        check("{{printf \"%s-%d\" .Id .Count}} {{truncate .Id 2}}", "abc-3 ab");
        check("{{println .Id}}", "abc\n");
        check("{{(split .Name \"/\")}}", "[ web]");
    }

    #[test]
    fn mistakes_are_named() {
        check("{{.Nope}}", "template: cannot evaluate `.Nope`: map has no entry for key \"Nope\"");
        check("{{.Id", "template parsing error: unclosed action in `{{.Id`");
        check("{{frob .Id}}", "template parsing error: function \"frob\" not defined in `{{frob .Id}}`");
        check("{{if .Tty}}", "template parsing error: unexpected end, `if` is not closed in `{{if .Tty}}`");
    }
}
