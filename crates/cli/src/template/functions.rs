//! What templates may call, and how values print.

use std::cmp::Ordering;

use serde_json::Value;

/// Every function a template may name.
pub const NAMES: &[&str] = &[
    "and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "len", "index", "json", "join", "split", "lower",
    "upper", "title", "pad", "truncate", "print", "println", "printf",
];

/// Go's notion of a non-empty value.
pub fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// How Go's `%v` prints `value`.
pub fn display(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".into(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(display).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| key.as_str());
            let entries: Vec<_> =
                entries.iter().map(|(key, value)| format!("{key}:{}", display(value))).collect();
            format!("map[{}]", entries.join(" "))
        }
    }
}

/// Calls `name` on `values`.
pub fn call(name: &str, values: &[Value]) -> Result<Value, String> {
    let arity = |wanted: usize| match values.len() == wanted {
        true => Ok(()),
        false => Err(format!("wrong number of args for {name}: want {wanted} got {}", values.len())),
    };
    let text = |index: usize| match values.get(index) {
        Some(Value::String(text)) => Ok(text.as_str()),
        Some(other) => Err(format!("{name}: wrong type of argument: {other}")),
        None => Err(format!("{name}: missing argument")),
    };
    let number = |index: usize| {
        let value = values.get(index).and_then(Value::as_u64);
        value.map(|value| value as usize).ok_or_else(|| format!("{name}: argument must be a number"))
    };
    Ok(match name {
        "not" => arity(1).map(|()| Value::Bool(!truth(&values[0])))?,
        "eq" => {
            let (first, rest) = values.split_first().ok_or("eq: missing arguments")?;
            Value::Bool(rest.iter().any(|value| same(first, value)))
        }
        "ne" => arity(2).map(|()| Value::Bool(!same(&values[0], &values[1])))?,
        "lt" | "le" | "gt" | "ge" => {
            arity(2)?;
            let order = compare(&values[0], &values[1]).ok_or("incompatible types for comparison")?;
            Value::Bool(match name {
                "lt" => order == Ordering::Less,
                "le" => order != Ordering::Greater,
                "gt" => order == Ordering::Greater,
                _ => order != Ordering::Less,
            })
        }
        "len" => arity(1)
            .and_then(|()| match &values[0] {
                Value::String(text) => Ok(text.len()),
                Value::Array(items) => Ok(items.len()),
                Value::Object(map) => Ok(map.len()),
                other => Err(format!("len of {other}")),
            })?
            .into(),
        "index" => values.iter().skip(1).try_fold(values.first().cloned().unwrap_or_default(), index)?,
        "json" => {
            arity(1)?;
            Value::String(values[0].to_string())
        }
        "join" => {
            arity(2)?;
            let Value::Array(items) = &values[0] else {
                return Err("join: first argument is not a list".into());
            };
            Value::String(items.iter().map(display).collect::<Vec<_>>().join(text(1)?))
        }
        "split" => Value::Array(text(0)?.split(text(1)?).map(Value::from).collect()),
        "lower" => Value::String(text(0)?.to_lowercase()),
        "upper" => Value::String(text(0)?.to_uppercase()),
        "title" => {
            let mut letters = text(0)?.chars();
            letters
                .next()
                .map(|first| first.to_uppercase().chain(letters).collect::<String>())
                .unwrap_or_default()
                .into()
        }
        "pad" => Value::String(format!("{}{}{}", " ".repeat(number(1)?), text(0)?, " ".repeat(number(2)?))),
        "truncate" => Value::String(text(0)?.chars().take(number(1)?).collect()),
        "print" => Value::String(values.iter().map(display).collect()),
        "println" => Value::String(values.iter().map(display).collect::<Vec<_>>().join(" ") + "\n"),
        "printf" => Value::String(printf(text(0)?, &values[1..])?),
        _ => return Err(format!("function \"{name}\" not defined")),
    })
}

fn same(a: &Value, b: &Value) -> bool {
    compare(a, b) == Some(Ordering::Equal)
}

fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64()?.partial_cmp(&b.as_f64()?),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        _ => (a == b).then_some(Ordering::Equal),
    }
}

fn index(of: Value, key: &Value) -> Result<Value, String> {
    match (of, key) {
        (Value::Object(mut map), Value::String(key)) => Ok(map.remove(key).unwrap_or(Value::Null)),
        (Value::Array(mut items), key) => {
            let index = key.as_u64().ok_or("index of a list must be a number")? as usize;
            if index >= items.len() {
                return Err(format!("index out of range: {index}"));
            }
            Ok(items.swap_remove(index))
        }
        (other, _) => Err(format!("can't index {other}")),
    }
}

/// `%s`, `%v`, `%d`, `%q`, `%t`, each with an optional `-` and width, and `%%`.
fn printf(format: &str, values: &[Value]) -> Result<String, String> {
    let mut out = String::new();
    let mut values = values.iter();
    let mut letters = format.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            out.push(letter);
            continue;
        }
        let left = letters.next_if_eq(&'-').is_some();
        let mut width = 0usize;
        while let Some(digit) = letters.peek().and_then(|letter| letter.to_digit(10)) {
            width = (width * 10 + digit as usize).min(1000);
            letters.next();
        }
        let verb = letters.next().ok_or("printf: a lone % at the end")?;
        let text = match verb {
            '%' => "%".to_owned(),
            's' | 'v' | 'd' | 't' => display(values.next().ok_or("printf: missing argument")?),
            'q' => format!("{:?}", display(values.next().ok_or("printf: missing argument")?)),
            other => return Err(format!("printf: verb %{other} is not supported")),
        };
        out.push_str(&if left { format!("{text:<width$}") } else { format!("{text:>width$}") });
    }
    Ok(out)
}
