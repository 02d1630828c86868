//! Lists of objects under `--format`, `--quiet` and `--no-trunc`.

use serde_json::{Map, Value};

use super::table;
use crate::template::{Template, TemplateError};

/// A column of the default table: its heading and the field it shows.
pub struct Column {
    pub heading: &'static str,
    pub field: &'static str,
}

/// Makes a [`Column`].
pub const fn column(heading: &'static str, field: &'static str) -> Column {
    Column { heading, field }
}

/// Renders `rows` as `format` says: empty or `table` for `columns`, `table …` for chosen ones, `json`, or a template per row.
///
/// # Errors
/// [`TemplateError`] when `format` is no template or names a field the rows do not have.
pub fn render(
    format: &str,
    columns: &[Column],
    rows: &[Map<String, Value>],
) -> Result<String, TemplateError> {
    match format.trim() {
        "" | "table" => Ok(default_table(columns, rows)),
        "json" => Ok(rows.iter().map(|row| format!("{}\n", Value::Object(row.clone()))).collect()),
        text => match text.strip_prefix("table") {
            Some(cells) if cells.starts_with(char::is_whitespace) => {
                chosen_table(cells.trim(), columns, rows)
            }
            _ => each(&Template::parse(text)?, rows),
        },
    }
}

/// The entries of a list that an engine sent; it may be null.
pub fn list(document: Value) -> Vec<Value> {
    match document {
        Value::Array(entries) => entries,
        _ => Vec::new(),
    }
}

/// The keys of an object; null has none.
pub fn keys(object: &Value) -> Vec<String> {
    object.as_object().into_iter().flat_map(|object| object.keys().cloned()).collect()
}

/// Labels as `key=value,…`.
pub fn pairs(labels: &Value) -> String {
    let labels = labels.as_object().into_iter().flatten();
    let pairs: Vec<_> =
        labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    pairs.join(",")
}

/// The text of one field, as the default table shows it.
fn cell(row: &Map<String, Value>, field: &str) -> String {
    match row.get(field) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}

fn default_table(columns: &[Column], rows: &[Map<String, Value>]) -> String {
    let mut lines = vec![columns.iter().map(|column| column.heading.to_owned()).collect::<Vec<_>>()];
    lines.extend(rows.iter().map(|row| columns.iter().map(|column| cell(row, column.field)).collect()));
    table::render(&lines)
}

fn chosen_table(
    cells: &str,
    columns: &[Column],
    rows: &[Map<String, Value>],
) -> Result<String, TemplateError> {
    let template = Template::parse(cells)?;
    let heading = |field: String| match columns.iter().find(|column| column.field == field) {
        Some(column) => column.heading.to_owned(),
        None => spaced_upper(&field),
    };
    let mut lines = vec![template.headings().into_iter().map(heading).collect::<Vec<_>>()];
    for row in rows {
        let line = template.render(&Value::Object(row.clone()))?;
        lines.push(line.split('\t').map(str::to_owned).collect());
    }
    Ok(table::render(&lines))
}

fn each(template: &Template, rows: &[Map<String, Value>]) -> Result<String, TemplateError> {
    let mut out = String::new();
    for row in rows {
        out.push_str(&template.render(&Value::Object(row.clone()))?);
        out.push('\n');
    }
    Ok(out)
}

/// `RunningFor` as the heading `RUNNING FOR`.
fn spaced_upper(field: &str) -> String {
    let mut out = String::new();
    let mut before_lower = false;
    for letter in field.chars() {
        if letter.is_uppercase() && before_lower {
            out.push(' ');
        }
        before_lower = letter.is_lowercase();
        out.extend(letter.to_uppercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(format: &str, expected: &str) {
        let row = serde_json::json!({"ID": "abc", "Names": "web", "RunningFor": "2 hours ago"});
        let Value::Object(row) = row else { unreachable!("it is written as an object") };
        let columns = [column("CONTAINER ID", "ID"), column("NAMES", "Names")];
        let text = render(format, &columns, &[row]).unwrap_or_else(|error| error.to_string());
        assert_eq!(text, expected, "{format}");
    }

    #[test]
    fn formats() {
        check("", "CONTAINER ID   NAMES\nabc            web\n");
        check("{{.Names}}:{{.ID}}", "web:abc\n");
        check("json", "{\"ID\":\"abc\",\"Names\":\"web\",\"RunningFor\":\"2 hours ago\"}\n");
        check("table {{.ID}}\t{{.RunningFor}}", "CONTAINER ID   RUNNING FOR\nabc            2 hours ago\n");
        check("{{.Nope}}", "template: cannot evaluate `.Nope`: map has no entry for key \"Nope\"");
    }
}
