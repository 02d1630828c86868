//! A server of the web.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;

/// Answers one request after the other with these status lines, further header lines included, and bodies; then nobody listens any more.
/// A head that has a `Content-Length` keeps it, however long the body is.
/// Returns its address, `http://127.0.0.1:<port>`.
pub fn web(answers: Vec<(&'static str, Vec<u8>)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = format!("http://{}", listener.local_addr().expect("it is bound"));
    std::thread::spawn(move || {
        for (head, body) in answers {
            let Ok((mut client, _)) = listener.accept() else { return };
            let request = BufReader::new(&client).lines();
            request.map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
            let length = match head.contains("\r\nContent-Length:") {
                true => String::new(),
                false => format!("Content-Length: {}\r\n", body.len()),
            };
            let head = format!("HTTP/1.1 {head}\r\nConnection: close\r\n{length}\r\n");
            let _ = client.write_all(&[head.as_bytes(), &body].concat());
        }
    });
    address
}
