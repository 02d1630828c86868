//! A registry that answers with anything: the client has a result or an error, and soon. Nothing leaves this host.
//!
//! The bytes are the answers one after the other, with `\0\0` between them; when they are used up they begin again.

#![no_main]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use oci::{Digest, Reference};
use registry::credentials::Anonymous;
use registry::{Client, ClientOptions, Hosts, Proxies};

/// What is answered next.
type Script = Arc<Mutex<(usize, Vec<Vec<u8>>)>>;

/// A server that plays what it is given, and its address.
fn server() -> &'static (String, Script) {
    static SERVER: OnceLock<(String, Script)> = OnceLock::new();
    SERVER.get_or_init(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port left");
        let address = listener.local_addr().expect("it is bound").to_string();
        let script = Script::default();
        let played = script.clone();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let answer = {
                    let mut script = played.lock().unwrap_or_else(|e| e.into_inner());
                    let at = script.0 % script.1.len().max(1);
                    script.0 += 1;
                    script.1.get(at).cloned().unwrap_or_default()
                };
                let _ = stream.set_read_timeout(Some(Duration::from_millis(50)));
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(&answer);
            }
        });
        (address, script)
    })
}

fuzz_target!(|bytes: &[u8]| {
    let (address, script) = server();
    let text = String::from_utf8_lossy(bytes).replace("HOST", address);
    let answers = text.split("\0\0").map(|answer| answer.as_bytes().to_vec()).collect();
    *script.lock().unwrap_or_else(|e| e.into_inner()) = (0, answers);
    let options = ClientOptions {
        user_agent: "fuzz".to_owned(),
        credentials: Arc::new(Anonymous),
        hosts: Hosts::default(),
        // Whatever it is redirected to, it gets no further than this host.
        proxies: Proxies {
            http: Some(format!("http://{address}")),
            https: Some(format!("http://{address}")),
            except: String::new(),
        },
        silence_limit: Duration::from_millis(50),
        pause_unit: Duration::from_nanos(1),
    };
    let Ok(client) = Client::new(options) else { return };
    let app = Reference::parse(&format!("{address}/app")).expect("a well-formed name");
    let digest = Digest::of(b"0123456789");
    let _ = client.manifest(&app, None);
    let _ = client.tags(&app);
    let _ = client.referrers(&app, &digest, None);
    if let Ok(mut blob) = client.blob(&app, &digest, 10) {
        let mut found = Vec::new();
        assert!(blob.read_to_end(&mut found).is_err() || found.len() == 10);
    }
});
