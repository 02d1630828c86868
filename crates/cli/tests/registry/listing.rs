//! Lists and their pages.

use serde_json::json;

use crate::server::{Image, Server};

#[test]
fn tags_are_listed_page_by_page() {
    let server = Server::start(&[]);
    let image = Image::of_host("listed");
    server.push("app", "latest", &image).status(201);
    for tag in ["app:b", "app:a", "app:B", "app:a.1", "apple:x", "ghcr.io/app:y"] {
        server.world.hull(["tag", "app", tag]).success();
    }
    let list = |query: &str| server.get(&format!("/v2/app/tags/list{query}")).status(200);
    assert_eq!(list("").json(), json!({"name": "app", "tags": ["B", "a", "a.1", "b", "latest"]}));
    let first = list("?n=2");
    assert_eq!(first.json()["tags"], json!(["B", "a"]));
    assert_eq!(first.header("link"), Some("</v2/app/tags/list?last=a&n=2>; rel=\"next\""));
    assert_eq!(list("?n=2&last=a").json()["tags"], json!(["a.1", "b"]));
    let last = list("?last=b&n=2");
    assert_eq!((last.json()["tags"].clone(), last.header("link")), (json!(["latest"]), None));
    assert_eq!(list("?last=b").json()["tags"], json!(["latest"]));
    let none = list("?n=0");
    assert_eq!((none.json()["tags"].clone(), none.header("link")), (json!([]), None));
    assert_eq!(list("?n=5").header("link"), None);
    server.get("/v2/app/tags/list?n=-1").error(400, "UNSUPPORTED");
    server.get("/v2/app/tags/list?n=many").error(400, "UNSUPPORTED");
    server.get("/v2/none/tags/list").error(404, "NAME_UNKNOWN");
    server.request("DELETE", "/v2/app/tags/list").send().error(405, "UNSUPPORTED");
}

#[test]
fn repositories_are_those_of_this_host() {
    let server = Server::start(&[]);
    assert_eq!(server.get("/v2/_catalog").status(200).json(), json!({"repositories": []}));
    server.push("app", "latest", &Image::of_host("listed")).status(201);
    server.push("other/kept", "v1", &Image::new("listed", "s390x")).status(201);
    // Nobody could ask for the last one.
    for tag in ["app:two", "user/app", "ghcr.io/x/y:1", "localhost:5000/app"] {
        server.world.hull(["tag", "app", tag]).success();
    }
    let names = ["app", "ghcr.io/x/y", "other/kept", "user/app"];
    assert_eq!(server.get("/v2/_catalog").json(), json!({ "repositories": names }));
    for name in names {
        server.get(&format!("/v2/{name}/tags/list")).status(200);
    }
    let first = server.get("/v2/_catalog?n=3").status(200);
    assert_eq!(first.json()["repositories"], json!(names[..3]));
    assert_eq!(first.header("link"), Some("</v2/_catalog?last=other%2Fkept&n=3>; rel=\"next\""));
    assert_eq!(server.get("/v2/_catalog?last=other%2Fkept&n=3").json()["repositories"], json!(names[3..]));
    server.get("/v2/_catalog?n=x").error(400, "UNSUPPORTED");
}
