//! A registry that does what a test tells it, down to the bytes: the faulty one.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// What was asked, without the body.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub method: String,
    /// Path and query, or a whole URL where this is a proxy.
    pub target: String,
    headers: Vec<(String, String)>,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// `GET /v2/app/tags/list`.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }
}

/// One request that is being answered. What is not read of its body when it is dropped resets the connection.
pub struct Exchange {
    pub asked: Asked,
    /// How many requests came before this one.
    pub number: usize,
    stream: BufReader<TcpStream>,
}

impl Exchange {
    /// The body, or what there is of it up to `limit`.
    pub fn body(&mut self, limit: usize) -> Vec<u8> {
        let mut body = Vec::new();
        if let Some(length) = self.asked.header("content-length") {
            let length = length.parse::<usize>().unwrap().min(limit);
            let _ = (&mut self.stream).take(length as u64).read_to_end(&mut body);
        }
        body
    }

    pub fn write(&mut self, bytes: &[u8]) {
        // The other side may have had enough.
        let _ = self.stream.get_mut().write_all(bytes);
    }

    /// Status line and headers alone.
    pub fn head(&mut self, status: u16, headers: &[(&str, &str)]) {
        let mut head = format!("HTTP/1.1 {status} Because\r\nConnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        self.write(format!("{head}\r\n").as_bytes());
    }

    /// A whole answer.
    pub fn reply(&mut self, status: u16, headers: &[(&str, &str)], body: &[u8]) {
        let length = body.len().to_string();
        let mut all = headers.to_vec();
        if status != 204 && status != 304 {
            all.push(("Content-Length", &length));
        }
        self.head(status, &all);
        if self.asked.method != "HEAD" {
            self.write(body);
        }
    }

    /// Says nothing for a while.
    pub fn stall(&mut self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// A running server; dropping it ends it.
pub struct Server {
    pub address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Answers every request with `answer`; the bare question for `/v2/`, by which clients in doubt find out about TLS, with yes.
    pub fn start(answer: impl Fn(&mut Exchange) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let ended = Arc::new(AtomicBool::new(false));
        let (seen, over, answer) = (asked.clone(), ended.clone(), Arc::new(answer));
        let accept = move || {
            for stream in listener.incoming() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let (seen, answer) = (seen.clone(), answer.clone());
                std::thread::spawn(move || converse(stream.unwrap(), &seen, &*answer));
            }
        };
        Self { address, asked, ended, thread: Some(std::thread::spawn(accept)) }
    }

    /// What was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The requests as lines.
    pub fn lines(&self) -> Vec<String> {
        self.asked().iter().map(Asked::line).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(&self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn converse(stream: TcpStream, seen: &Mutex<Vec<Asked>>, answer: &dyn Fn(&mut Exchange)) {
    let mut stream = BufReader::new(stream);
    // Who begins with TLS is not understood here.
    match stream.fill_buf() {
        Ok(begin) if begin.first().is_some_and(u8::is_ascii_uppercase) => {}
        _ => return,
    }
    let Some(asked) = read_head(&mut stream) else { return };
    let mut exchange = Exchange { asked, number: 0, stream };
    if exchange.asked.target == "/v2/" && exchange.asked.header("authorization").is_none() {
        return exchange.reply(200, &[], b"{}");
    }
    {
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        exchange.number = seen.len();
        seen.push(exchange.asked.clone());
    }
    answer(&mut exchange);
    let _ = exchange.stream.get_ref().shutdown(Shutdown::Write);
}

fn read_head(stream: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut line = || {
        let mut line = String::new();
        stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
        Some(line.trim_end().to_owned())
    };
    let first = line()?;
    let mut words = first.split(' ');
    let mut asked =
        Asked { method: words.next()?.to_owned(), target: words.next()?.to_owned(), headers: Vec::new() };
    loop {
        let line = line()?;
        match line.split_once(':') {
            Some((name, value)) => asked.headers.push((name.to_owned(), value.trim().to_owned())),
            None => return Some(asked),
        }
    }
}
