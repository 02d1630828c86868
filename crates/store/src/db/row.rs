//! Columns of our own types.

use std::str::FromStr;

use rusqlite::types::Type;
use rusqlite::{Error, Row};

/// Reads a column that holds the text form of `T`.
pub fn parsed<T: FromStr>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text = row.get_ref(column)?.as_str()?;
    text.parse().map_err(|e| Error::FromSqlConversionFailure(column, Type::Text, Box::new(e)))
}

/// As [`parsed`], where the column may be NULL.
pub fn parsed_option<T: FromStr>(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<T>>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    match row.get_ref(column)?.as_str_or_null()? {
        None => Ok(None),
        Some(_) => parsed(row, column).map(Some),
    }
}

/// Reads a column that holds JSON.
pub fn json<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    serde_json::from_str(text).map_err(|e| Error::FromSqlConversionFailure(column, Type::Text, Box::new(e)))
}

/// Reads a column that holds several values separated by spaces.
pub fn list<T: FromStr>(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<T>>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text = row.get_ref(column)?.as_str()?;
    text.split_ascii_whitespace()
        .map(|part| {
            part.parse().map_err(|e| Error::FromSqlConversionFailure(column, Type::Text, Box::new(e)))
        })
        .collect()
}

/// The text that [`list`] reads.
pub fn join<T: ToString>(values: &[T]) -> String {
    values.iter().map(T::to_string).collect::<Vec<_>>().join(" ")
}

/// Reads a byte count; SQLite's integers are signed.
pub fn size(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get(column).map(|value: i64| value.max(0).cast_unsigned())
}

/// The value that [`size`] reads.
pub fn size_column(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
