//! Roots, a base image and a build to make in them.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use build::{BuildContext, BuildError, BuildOutput, BuildRequest, Event, Progress, Source};
use image::{Images, ImportOptions, Registries};
use net::{EndpointPlan, EndpointSource, Mac, NetworkPlan};
use oci::Reference;
use oci::image::ImageConfig;
use registry::{Client, ClientOptions, RegistryError};
use store::{Roots, Store};

/// The data and run root of one test, with `busybox:latest` in it; everything is gone, and looked for, when dropped.
pub struct Fixture {
    pub dir: PathBuf,
    pub store: Store,
    pub context: PathBuf,
    /// Whether builds may ask the web.
    pub is_online: bool,
    endpoints: Endpoints,
}

struct Web;

impl Registries for Web {
    fn client(&self) -> Result<Client, RegistryError> {
        Client::new(ClientOptions::from_environment())
    }

    fn pulled(&self, reference: &Reference) {
        panic!("{reference} is here");
    }
}

struct Endpoints {
    context: net::Context,
    network: Mutex<Option<NetworkPlan>>,
    next: AtomicU32,
    pub leased: AtomicU32,
}

/// Keeps every event as text.
#[derive(Default)]
pub struct Recorder {
    pub lines: Mutex<Vec<String>>,
}

impl Progress for Recorder {
    fn event(&self, event: Event<'_>) {
        let line = match event {
            Event::Started { name, .. } => format!("start {name}"),
            Event::Cached { step } => format!("cached {}", step.0),
            Event::Output { line, .. } => format!("out {}", String::from_utf8_lossy(line)),
            Event::Finished { step, .. } => format!("done {}", step.0),
            Event::Failed { error, .. } => format!("failed {error}"),
            Event::Cancelled { step } => format!("cancelled {}", step.0),
            Event::Warning { text } => format!("warning {text}"),
            Event::Dockerfile { .. } | Event::Image { .. } | Event::Instruction { .. } => return,
        };
        self.lines.lock().unwrap().push(line);
    }
}

impl Recorder {
    pub fn has(&self, line: &str) -> bool {
        self.lines.lock().unwrap().iter().any(|have| have == line)
    }
}

/// What a build gave back.
pub struct Built {
    pub output: BuildOutput,
    pub config: ImageConfig,
    pub recorder: Arc<Recorder>,
}

impl Fixture {
    pub fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("hull-build-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        let fixture = Self::open(&dir);
        let mut tar = std::fs::File::open(testkit::busybox_tar()).unwrap();
        let options =
            ImportOptions { reference: Some("busybox".parse().unwrap()), ..ImportOptions::default() };
        Images::new(&fixture.store).import(&mut tar, &options).unwrap();
        fixture
    }

    /// The roots below `dir` as they are.
    pub fn open(dir: &Path) -> Self {
        let dir = dir.to_owned();
        let context = dir.join("context");
        std::fs::create_dir_all(&context).unwrap();
        let roots = Roots::new(dir.join("data"), dir.join("run"));
        let store = Store::open(&roots).unwrap();
        let net = net::Context { instance: roots.instance(), run: dir.join("run/networks") };
        let endpoints = Endpoints {
            context: net,
            network: Mutex::default(),
            next: AtomicU32::new(2),
            leased: AtomicU32::new(0),
        };
        Self { dir, store, context, is_online: false, endpoints }
    }

    /// As another command would find it.
    pub fn reopen(mut self) -> Self {
        self.store = Store::open(&Roots::new(self.dir.join("data"), self.dir.join("run"))).unwrap();
        self
    }

    pub fn file(&self, path: &str, text: &str) -> &Self {
        let path = self.context.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    pub fn try_build(
        &self,
        dockerfile: &str,
        change: impl FnOnce(&mut BuildRequest),
    ) -> (Result<BuildOutput, BuildError>, Arc<Recorder>) {
        self.file("Dockerfile", dockerfile);
        let recorder = Arc::new(Recorder::default());
        let mut request = BuildRequest {
            context: Source::Dir(self.context.clone()),
            progress: Arc::clone(&recorder) as Arc<dyn Progress>,
            ..BuildRequest::default()
        };
        change(&mut request);
        let images = Images::new(&self.store);
        let context = BuildContext {
            git: build::GitSetup::Own,
            store: &self.store,
            images: &images,
            registries: self.is_online.then_some(&Web as &dyn Registries),
            endpoints: &self.endpoints,
            network: self.endpoints.context.clone(),
        };
        (build::build(&context, request), recorder)
    }

    #[track_caller]
    pub fn build_with(&self, dockerfile: &str, change: impl FnOnce(&mut BuildRequest)) -> Built {
        let (output, recorder) = self.try_build(dockerfile, change);
        let output = output.unwrap_or_else(|error| {
            let lines = recorder.lines.lock().unwrap().join("\n");
            panic!("{}\n{lines}", diag::render(&error.into()))
        });
        let image = Images::new(&self.store).resolve(&output.image_id).unwrap();
        Built { output, config: image.config, recorder }
    }

    #[track_caller]
    pub fn build(&self, dockerfile: &str) -> Built {
        self.build_with(dockerfile, |_| {})
    }

    #[track_caller]
    pub fn fails(&self, dockerfile: &str) -> String {
        self.fails_with(dockerfile, |_| {})
    }

    #[track_caller]
    pub fn fails_with(&self, dockerfile: &str, change: impl FnOnce(&mut BuildRequest)) -> String {
        let (output, recorder) = self.try_build(dockerfile, change);
        match output {
            Ok(_) => panic!("the build succeeded: {:?}", recorder.lines.lock().unwrap()),
            Err(error) => diag::render(&error.into()),
        }
    }

    /// Runs a shell command in the image `built` and returns what it prints: by building one more step.
    #[track_caller]
    pub fn sh(&self, built: &Built, command: &str) -> String {
        let images = Images::new(&self.store);
        images.tag(&built.output.image_id, &"probe:latest".parse().unwrap()).unwrap();
        let probe = self.build_with(
            &format!("FROM probe\nUSER root\nSHELL [\"/bin/sh\", \"-c\"]\nRUN --network=none {command}"),
            |request| request.no_cache = true,
        );
        let lines = probe.recorder.lines.lock().unwrap();
        let output: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("out ")).collect();
        output.join("\n")
    }

    pub fn endpoints_in_use(&self) -> u32 {
        self.endpoints.leased.load(Ordering::SeqCst)
    }

    fn marks(&self) -> Vec<String> {
        vec![self.dir.display().to_string(), self.endpoints.context.instance.clone()]
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        assert_eq!(self.endpoints_in_use(), 0, "every lease came back");
        for dir in ["data/tmp", "run/builds"] {
            let left: Vec<_> = std::fs::read_dir(self.dir.join(dir))
                .map(|entries| entries.flatten().map(|entry| entry.file_name()).collect())
                .unwrap_or_default();
            assert!(left.is_empty(), "left in {dir}: {left:?}");
        }
        net::remove_all(&self.endpoints.context).unwrap();
        let marks = self.marks();
        testkit::eventually("nothing is left on the host", 5, || {
            let leaks = testkit::Snapshot::of(&marks).since(&testkit::Snapshot::default());
            // This process carries the mark in no argument; what remains would be a step's.
            leaks.is_empty().then_some(())
        });
        sys::fs::remove_tree(&self.dir).unwrap();
    }
}

impl EndpointSource for Endpoints {
    fn acquire(&self) -> Result<EndpointPlan, diag::Failure> {
        let mut network = self.network.lock().unwrap();
        if network.is_none() {
            let id = format!("{:0<64}", self.context.instance);
            let plan = |subnet: net::Ipv4Net| NetworkPlan {
                bridge: net::bridge_name(&id),
                name: "bridge".to_owned(),
                gateway: subnet.first_host(),
                subnet,
                mtu: net::uplink_mtu(),
                internal: false,
                icc: true,
                masquerade: true,
                dns: false,
                id: id.clone(),
            };
            *network = Some(net::create_network(&self.context, &[], plan)?);
        }
        let network = network.clone().expect("it was just made");
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        let address: Ipv4Addr = network.subnet.nth(number).expect("a test needs few addresses");
        self.leased.fetch_add(1, Ordering::SeqCst);
        Ok(EndpointPlan {
            id: format!("{:03x}{}{:0<53}", number, self.context.instance, ""),
            address,
            mac: Mac::for_address(address),
            interface: "eth0".to_owned(),
            names: Vec::new(),
            links: Default::default(),
            default_route: true,
            may_forge: false,
            network,
        })
    }

    fn release(&self, _: &EndpointPlan) {
        // What a killed process leased was not counted here.
        let _ = self.leased.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
    }
}

/// The path of a layer's tree.
pub fn snapshot(fixture: &Fixture, built: &Built, index: usize) -> PathBuf {
    fixture.store.snapshots().path(&built.config.rootfs.diff_ids[index])
}

/// Every path below `dir`, sorted.
pub fn files(dir: &Path) -> Vec<String> {
    let output =
        std::process::Command::new("find").arg(dir).args(["-mindepth", "1", "-printf", "%P\n"]).output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    let mut files: Vec<_> = text.lines().map(str::to_owned).collect();
    files.sort();
    files
}

/// Removes what the failed test in process `pid` left, so that it does not disturb others.
pub fn discard(pid: u32) {
    for entry in std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("hull-build-") && name.ends_with(&format!("-{pid}")) {
            let instance = Roots::new(entry.path().join("data"), entry.path().join("run")).instance();
            let _ = net::remove_all(&net::Context { instance, run: entry.path().join("run/networks") });
            let _ = sys::fs::remove_tree(&entry.path());
        }
    }
}
