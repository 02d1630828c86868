//! Files of containers: in and out as archives.

use std::sync::Arc;

use axum::http::{HeaderName, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::archive::{PathStat, PutOptions};
use engine::time::rfc3339;
use serde_json::json;

use crate::refusal::Refusal;
use crate::reply::{self, Response, with};
use crate::request::{Request, blocking};
use crate::stream::{Late, Sink, Upload, pieces, report};

const PATH_STAT: HeaderName = HeaderName::from_static("x-docker-container-path-stat");

fn path(request: &Request) -> Result<String, Refusal> {
    let path = request.query.get("path").map(str::to_owned);
    path.ok_or_else(|| Refusal::invalid("path: it is missing or empty"))
}

/// `HEAD /containers/{id}/archive`.
pub async fn stat(request: Request, id: &str) -> Result<Response, Refusal> {
    let (id, path) = (id.to_owned(), path(&request)?);
    let stat = request.engine(move |engine| engine.archive_stat(&id, &path)).await?;
    Ok(with(reply::empty(StatusCode::OK), PATH_STAT, header(&stat)))
}

/// `GET /containers/{id}/archive`.
pub async fn get(request: Request, id: &str) -> Result<Response, Refusal> {
    let (id, path) = (id.to_owned(), path(&request)?);
    let stat = request.engine({
        let (id, path) = (id.clone(), path.clone());
        move |engine| engine.archive_stat(&id, &path)
    });
    let header = header(&stat.await?);
    let engine = request.state.engine.clone();
    let work =
        move |sink: &Arc<Sink>| pieces(sink, |output| engine.archive_get(&id, &path, output).map(drop));
    Ok(with(report("application/x-tar", Late::Broken, work).await?, PATH_STAT, header))
}

/// `PUT /containers/{id}/archive`.
pub async fn put(mut request: Request, id: &str) -> Result<Response, Refusal> {
    let (id, path) = (id.to_owned(), path(&request)?);
    let (keep_kinds, as_user) =
        (request.query.flag("noOverwriteDirNonDir"), request.query.flag("copyUIDGID"));
    let mut archive = Upload::new(std::mem::take(&mut request.body));
    let engine = request.state.engine.clone();
    let put = blocking(move || {
        let owner = match as_user {
            true => owner(&engine.inspect(&id)?.spec.process.user.unwrap_or_default())?,
            false => None,
        };
        Ok(engine.archive_put(&id, &path, &mut archive, &PutOptions { keep_kinds, owner })?)
    });
    put.await?;
    Ok(reply::empty(StatusCode::OK))
}

/// The ids of a container's user, `uid[:gid]`; none when it has none.
fn owner(user: &str) -> Result<Option<(u32, u32)>, Refusal> {
    if user.is_empty() {
        return Ok(None);
    }
    let (uid, gid) = user.split_once(':').unwrap_or((user, user));
    match (uid.parse(), gid.parse()) {
        (Ok(uid), Ok(gid)) => Ok(Some((uid, gid))),
        _ => Err(Refusal::unsupported(format!(
            "copyUIDGID: the container's user {user:?} is not given by number"
        ))),
    }
}

/// `GET /containers/{id}/export`.
pub async fn export(request: Request, id: &str) -> Result<Response, Refusal> {
    let id = id.to_owned();
    let engine = request.state.engine.clone();
    let work = move |sink: &Arc<Sink>| pieces(sink, |output| engine.export(&id, output));
    report("application/octet-stream", Late::Broken, work).await
}

fn header(stat: &PathStat) -> String {
    let document = json!({
        "name": stat.name, "size": stat.size, "mode": go_mode(stat.mode), "mtime": rfc3339(stat.modified_ns),
        "linkTarget": stat.link_target,
    });
    STANDARD.encode(document.to_string())
}

/// `st_mode` in the bits of Go's `os.FileMode`.
fn go_mode(mode: u32) -> u32 {
    let kind = match mode & 0o170_000 {
        0o040_000 => 1 << 31,
        0o120_000 => 1 << 27,
        0o060_000 => 1 << 26,
        0o020_000 => 1 << 26 | 1 << 21,
        0o010_000 => 1 << 25,
        0o140_000 => 1 << 24,
        _ => 0,
    };
    let bit = |bit: u32, go: u32| if mode & bit == 0 { 0 } else { go };
    kind | bit(0o4000, 1 << 23) | bit(0o2000, 1 << 22) | bit(0o1000, 1 << 20) | mode & 0o777
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_gos() {
        assert_eq!(go_mode(0o100_644), 0o644);
        assert_eq!(go_mode(0o041_777), 1 << 31 | 1 << 20 | 0o777);
        assert_eq!(go_mode(0o020_666), 1 << 26 | 1 << 21 | 0o666);
        assert_eq!(go_mode(0o104_755), 1 << 23 | 0o755);
    }
}
