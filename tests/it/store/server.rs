//! Stores' servers in this process: what they are asked, test by test, and what they are made to do about it.
//!
//! Their objects are files, so that a recording can be read from the disk as it came to the store. The server of S3's protocol is
//! `s3s-fs`; those of Google's and Azure's stand beside this file and do what is documented of the requests that are made. They
//! show what is sent and what is done with the answers, and not that Google or Azure takes it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustix::process::{Pid, Signal, kill_process};
use s3s::Body;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use super::azure::{Azure, account_key, deletions};
use super::bucket::{Asked, unescaped};
use super::google::Google;

/// Bucket that is there.
pub(crate) const BUCKET: &str = "recordings";

/// Credentials that are good.
pub(crate) const KEY: &str = "AKIDREHEARSALTEST";
pub(crate) const SECRET: &str = "sEcReT+of/ThE=StOrE";

/// Whose protocol a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    S3,
    Google,
    Azure,
}

impl Kind {
    pub(crate) fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Google => "gs",
            Self::Azure => "az",
        }
    }

    /// Variable that says where the server is.
    pub(crate) fn endpoint(self) -> &'static str {
        match self {
            Self::S3 => "AWS_ENDPOINT_URL",
            Self::Google => "GOOGLE_BASE_URL",
            Self::Azure => "AZURE_STORAGE_ENDPOINT",
        }
    }

    /// Variable that holds the secret.
    pub(crate) fn secret(self) -> &'static str {
        match self {
            Self::S3 => "AWS_SECRET_ACCESS_KEY",
            Self::Google => "GOOGLE_BEARER_TOKEN",
            Self::Azure => "AZURE_STORAGE_ACCOUNT_KEY",
        }
    }

    /// What is answered where parts are to become an object that did so before.
    pub(crate) fn no_upload(self) -> (u16, &'static str) {
        if self == Self::Azure { (400, "InvalidBlockList") } else { (404, "NoSuchUpload") }
    }
}

/// One request, as it came or after it was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// Object, without the bucket; empty for the bucket itself.
    pub(crate) object: String,
    pub(crate) query: String,
    /// Whether it was answered already; the answer is on its way to whoever asked.
    pub(crate) answered: bool,
}

impl Call {
    fn of(request: &Request<Incoming>) -> Self {
        let object = request.uri().path().trim_start_matches('/').split_once('/').map_or("", |(_, object)| object);
        Self {
            method: request.method().clone(),
            object: unescaped(object),
            query: request.uri().query().unwrap_or_default().to_owned(),
            answered: false,
        }
    }

    /// A deletion of a batch is one.
    fn deleted(self, asked: &Asked) -> Self {
        match deletions(asked).into_iter().next() {
            Some(deletion) if self.query.contains("comp=batch") => {
                Self { method: Method::DELETE, object: deletion.object, ..self }
            }
            _ => self,
        }
    }

    /// Whether it is the last word of an upload in parts.
    pub(crate) fn ends_parts(&self) -> bool {
        let posts = self.method == Method::POST && self.query.contains("uploadId=");
        posts || self.method == Method::PUT && self.query.contains("comp=blocklist")
    }

    /// Whether it writes.
    pub(crate) fn writes(&self) -> bool {
        self.method != Method::GET && self.method != Method::HEAD
    }
}

/// What is done about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// It is answered.
    Pass,
    /// It is answered with this status, and this code in the answer.
    Answer(u16, &'static str),
    /// It is answered with this text, as if all were well.
    Say(&'static str),
    /// The connection is cut.
    Cut,
}

type Hook = Box<dyn FnMut(&Call) -> Act + Send>;

/// The server. Dropped, it and its objects are gone.
pub(crate) struct Server {
    pub(crate) kind: Kind,
    folder: TempDir,
    port: u16,
    calls: Arc<Mutex<Vec<Call>>>,
    hook: Arc<Mutex<Hook>>,
    _runtime: Runtime,
}

impl Server {
    pub(crate) fn start(kind: Kind) -> Self {
        let folder = TempDir::new().unwrap();
        std::fs::create_dir(folder.path().join(BUCKET)).unwrap();
        let service = Service::of(kind, folder.path());
        let calls = Arc::new(Mutex::new(Vec::new()));
        let hook: Arc<Mutex<Hook>> = Arc::new(Mutex::new(Box::new(|_| Act::Pass)));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let watching = Watching { service, calls: Arc::clone(&calls), hook: Arc::clone(&hook) };
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(watching.clone().serve(stream));
            }
        });
        Self { kind, folder, port, calls, hook, _runtime: runtime }
    }

    /// Does this about every request from now on, ahead of it and behind it.
    pub(crate) fn about_each(&self, hook: impl FnMut(&Call) -> Act + Send + 'static) {
        *self.hook.lock().unwrap() = Box::new(hook);
    }

    /// Takes the requests that came since this was asked last.
    pub(crate) fn calls(&self) -> Vec<Call> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }

    /// The address of a prefix.
    pub(crate) fn address(&self, prefix: &str) -> String {
        format!("{}://{BUCKET}/{prefix}", self.kind.scheme())
    }

    /// Where the objects of a prefix lie on the disk.
    pub(crate) fn folder(&self, prefix: &str) -> PathBuf {
        self.folder.path().join(BUCKET).join(prefix)
    }

    /// Has a command use the server, and a folder for state of its own.
    pub(crate) fn serve(&self, command: &mut Command, state: &Path) {
        let of_stores = |name: &str| ["AWS_", "GOOGLE_", "AZURE_"].iter().any(|start| name.starts_with(start));
        for (name, _) in std::env::vars().filter(|(name, _)| of_stores(name)) {
            command.env_remove(name);
        }
        let secret = if self.kind == Kind::Azure { account_key() } else { SECRET.to_owned() };
        command.env(self.kind.secret(), secret).env(self.kind.endpoint(), format!("http://127.0.0.1:{}", self.port));
        match self.kind {
            Kind::S3 => command.env("AWS_ACCESS_KEY_ID", KEY).env("AWS_REGION", "us-east-1"),
            Kind::Google => command,
            Kind::Azure => command.env("AZURE_STORAGE_ACCOUNT_NAME", KEY),
        };
        command.env("XDG_STATE_HOME", state).env("no_proxy", "127.0.0.1");
    }
}

/// What answers.
#[derive(Clone)]
enum Service {
    S3(S3Service),
    Google(Arc<Mutex<Google>>),
    Azure(Arc<Mutex<Azure>>),
}

impl Service {
    fn of(kind: Kind, folder: &Path) -> Self {
        match kind {
            Kind::S3 => {
                let mut service = S3ServiceBuilder::new(FileSystem::new(folder).unwrap());
                service.set_auth(SimpleAuth::from_single(KEY, SECRET));
                Self::S3(service.build())
            }
            Kind::Google => Self::Google(Arc::new(Mutex::new(Google::new(folder)))),
            Kind::Azure => Self::Azure(Arc::new(Mutex::new(Azure::new(folder)))),
        }
    }
}

/// A request that waits for its answer.
enum Waiting {
    S3(S3Service, Request<Incoming>),
    Google(Arc<Mutex<Google>>, Asked),
    Azure(Arc<Mutex<Azure>>, Asked),
}

impl Waiting {
    async fn answer(self) -> Option<Response<Body>> {
        match self {
            Self::S3(service, request) => service.call(request.map(Body::from)).await.ok(),
            Self::Google(google, asked) => Some(google.lock().unwrap().answer(&asked)),
            Self::Azure(azure, asked) => Some(azure.lock().unwrap().answer(&asked)),
        }
    }
}

#[derive(Clone)]
struct Watching {
    service: Service,
    calls: Arc<Mutex<Vec<Call>>>,
    hook: Arc<Mutex<Hook>>,
}

impl Watching {
    async fn serve(self, stream: TcpStream) {
        let answer = hyper::service::service_fn(move |request| self.clone().answer(request));
        // A connection that is cut is what some tests are about.
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Body>, std::io::Error> {
        let mut call = Call::of(&request);
        let gone = || std::io::Error::other("whoever asked has gone");
        let waiting = match self.service.clone() {
            Service::S3(service) => Waiting::S3(service, request),
            Service::Google(google) => Waiting::Google(google, Asked::read(request).await.ok_or_else(gone)?),
            Service::Azure(azure) => {
                let asked = Asked::read(request).await.ok_or_else(gone)?;
                call = call.deleted(&asked);
                Waiting::Azure(azure, asked)
            }
        };
        self.calls.lock().unwrap().push(call.clone());
        if let Some(instead) = self.instead(&call) {
            return instead;
        }
        let answer = waiting.answer().await.ok_or_else(|| std::io::Error::other("the service failed"))?;
        call.answered = true;
        self.instead(&call).unwrap_or(Ok(answer))
    }

    fn instead(&self, call: &Call) -> Option<Result<Response<Body>, std::io::Error>> {
        let mut hook = self.hook.lock().unwrap();
        match hook(call) {
            Act::Pass => None,
            Act::Say(text) => Some(Ok(Response::new(Body::from(text.to_owned())))),
            Act::Cut => Some(Err(std::io::Error::other("cut"))),
            Act::Answer(status, code) => {
                let body = Body::from(format!("<Error><Code>{code}</Code><Message>{SECRET}</Message></Error>"));
                let mut answer = Response::new(body);
                *answer.status_mut() = StatusCode::from_u16(status).unwrap();
                Some(Ok(answer))
            }
        }
    }
}

/// Names a child to whoever is to kill it.
#[derive(Clone, Default)]
pub(crate) struct Victim(Arc<Mutex<Option<Pid>>>);

impl Victim {
    /// Runs the command to its end, or until it is killed; returns what it said.
    pub(crate) fn run(&self, command: &mut Command) -> Output {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = {
            // Nobody can kill it before it is there.
            let mut victim = self.0.lock().unwrap();
            let child = command.spawn().unwrap();
            *victim = Pid::from_raw(child.id().cast_signed());
            child
        };
        let output = child.wait_with_output().unwrap();
        *self.0.lock().unwrap() = None;
        output
    }

    pub(crate) fn kill(&self) {
        if let Some(victim) = *self.0.lock().unwrap() {
            kill_process(victim, Signal::KILL).unwrap();
        }
    }
}
