//! A store of S3's protocol in this process, which kills who writes to it at a request. It loses nothing itself.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

use hyper::body::Incoming;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use rustix::process::{Pid, Signal, kill_process};
use s3s::Body;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// Address of the recording.
pub(super) const ADDRESS: &str = "s3://recordings/killed/out";

const KEY: &str = "AKIDREHEARSALKILLS";
const SECRET: &str = "a-secret-of-the-kills";

/// The store. Dropped, it and its objects are gone.
pub(crate) struct Bucket {
    folder: TempDir,
    port: u16,
    victim: Arc<Mutex<Option<Victim>>>,
    _runtime: Runtime,
}

/// Who is killed, and at which write.
struct Victim {
    process: Pid,
    /// Writes until then, that one among them.
    left: u64,
    answered: bool,
}

impl Bucket {
    pub(super) fn start() -> Self {
        let folder = TempDir::new().unwrap();
        std::fs::create_dir(folder.path().join("recordings")).unwrap();
        let mut service = S3ServiceBuilder::new(FileSystem::new(folder.path()).unwrap());
        service.set_auth(SimpleAuth::from_single(KEY, SECRET));
        let (service, victim) = (service.build(), Arc::new(Mutex::new(None)));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = Serving { service, victim: Arc::clone(&victim) };
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        Self { folder, port, victim, _runtime: runtime }
    }

    /// Where the objects of the recording lie on the disk.
    pub(super) fn out(&self) -> PathBuf {
        self.folder.path().join("recordings/killed/out")
    }

    /// Kills the process at its write of this number, ahead of it or when it is answered.
    pub(super) fn kill_at(&self, process: Pid, number: u64, answered: bool) {
        *self.victim.lock().unwrap() = Some(Victim { process, left: number, answered });
    }

    /// Kills nobody any more; returns whether somebody was killed.
    pub(super) fn has_killed(&self) -> bool {
        self.victim.lock().unwrap().take().is_some_and(|victim| victim.left == 0)
    }

    /// Has a command use the store.
    pub(super) fn serve(&self, command: &mut Command) {
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
            command.env_remove(name);
        }
        command.env("AWS_ACCESS_KEY_ID", KEY).env("AWS_SECRET_ACCESS_KEY", SECRET).env("AWS_REGION", "us-east-1");
        command.env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", self.port)).env("no_proxy", "127.0.0.1");
    }
}

#[derive(Clone)]
struct Serving {
    service: S3Service,
    victim: Arc<Mutex<Option<Victim>>>,
}

impl Serving {
    async fn serve(self, stream: TcpStream) {
        let answer = hyper::service::service_fn(move |request| self.clone().answer(request));
        // Those that are killed leave connections behind.
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Body>, std::io::Error> {
        let gone = || std::io::Error::other("whoever asked is killed");
        let kills = request.method() != Method::GET && request.method() != Method::HEAD && self.is_due();
        if kills && self.strike(false) {
            return Err(gone());
        }
        let answer = self.service.call(request.map(Body::from)).await.map_err(|_| gone())?;
        if kills && self.strike(true) { Err(gone()) } else { Ok(answer) }
    }

    /// Counts a write; returns whether it is the one.
    fn is_due(&self) -> bool {
        let mut victim = self.victim.lock().unwrap();
        let Some(victim) = victim.as_mut().filter(|victim| victim.left > 0) else { return false };
        victim.left -= 1;
        victim.left == 0
    }

    /// Kills whoever is to be killed ahead of a request, or when it is answered.
    fn strike(&self, answered: bool) -> bool {
        let victim = self.victim.lock().unwrap();
        let due = victim.as_ref().filter(|victim| victim.answered == answered);
        due.is_some_and(|victim| kill_process(victim.process, Signal::KILL).is_ok())
    }
}
